"""What can be reported of a run over the pairs; each with n and a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """``needs`` says which logits it is computed from: the answer and foil, or all of them."""

    word: str
    needs: Literal["answers", "vocabulary", "output"]
    unit: str
    doc: str


_ALL = (
    Metric(
        "logit_diff", "answers", "logits", "Mean of logit(answer of base) - logit(foil of base)."
    ),
    Metric(
        "fldd",
        "answers",
        "fraction",
        "Fractional logit difference decrease: 1 - mean(LD patched) / mean(LD clean).",
    ),
    Metric("flip_rate", "answers", "share", "Share of pairs whose logit difference changes sign."),
    Metric("positive_rate", "answers", "share", "Share of pairs with a logit difference above 0."),
    Metric(
        "interchange_accuracy",
        "vocabulary",
        "share",
        "Share whose most likely next token is the counterfactual answer.",
    ),
    Metric("prob", "vocabulary", "probability", "Mean probability of the base's answer."),
    Metric("kl", "vocabulary", "nats", "Mean KL divergence of the clean from the patched output."),
    Metric("output", "output", "", "Mean output of a toy model."),
)

METRICS = {metric.word: metric for metric in _ALL}
