"""What can be reported of a run over the pairs; each with n and a bootstrap interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """``needs`` says which logits it is computed from: the answer and foil, or all of them.

    A ``signed`` one is drawn in two colours around 0. Of several, the one with the largest
    ``headline`` is what a table is ordered by and drawn for, or else the first.
    """

    word: str
    needs: Literal["answers", "vocabulary", "output"]
    unit: str
    doc: str
    signed: bool = False
    headline: int = 0


_ALL = (
    Metric(
        "logit_diff",
        "answers",
        "logits",
        "Mean of logit(answer of base) - logit(foil of base).",
        signed=True,
    ),
    Metric(
        "fldd",
        "answers",
        "fraction",
        "Fractional logit difference decrease: 1 - mean(LD patched) / mean(LD clean).",
        signed=True,
        headline=1,
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
    Metric("output", "output", "", "Mean output of a toy model.", signed=True),
)

METRICS = {metric.word: metric for metric in _ALL}


def headline(words: Iterable[str]) -> str:
    """The one of some metrics that a table is ordered by and drawn for."""
    return max(words, key=lambda word: METRICS[word].headline if word in METRICS else 0)
