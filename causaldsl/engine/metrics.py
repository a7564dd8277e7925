"""Metrics: from logits to numbers by pair, and from those to a mean with an interval.

For pair i with clean and patched logit differences c_i and p_i::

    logit_diff = mean p_i
    fldd       = 1 - mean(p_i) / mean(c_i)
    flip_rate  = mean [p_i c_i < 0]
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Bootstrap, Estimate

_IN_DOUBLE_AT_ONCE = 64
"""Prompts whose logits over the whole vocabulary are in double precision at the same time."""


@dataclass(frozen=True)
class Outcome:
    """The numbers of one run, each (n,) by pair; None where no metric needs it."""

    logit_diff: Tensor
    hit: Tensor | None = None
    prob: Tensor | None = None
    kl: Tensor | None = None
    largest_change: float = 0.0


def from_answers(logits: Tensor) -> Tensor:
    """Logit difference from the logits of answer and foil, (n, 2)."""
    return (logits[:, 0] - logits[:, 1]).cpu().double()


def from_vocabulary(
    logits: Tensor,
    clean: Tensor | None,
    answers: Tensor,
    counterfactual: Tensor,
    wanted: Set[str],
) -> dict[str, Tensor]:
    """Numbers by pair that need all logits (n, V), of the metrics that are wanted.

    ``answers`` is (n, 2); ``clean`` is needed for ``kl``, KL(clean || patched) in nats.
    """
    found = {}
    if "interchange_accuracy" in wanted:
        found["hit"] = (logits.argmax(-1) == counterfactual).cpu().double()
    if not wanted & {"prob", "kl"}:
        return found
    parts = []
    for rows in torch.arange(len(logits)).split(_IN_DOUBLE_AT_ONCE):
        before = clean[rows] if clean is not None and "kl" in wanted else None
        parts.append(_from_log_probs(logits[rows], before, answers[rows].cpu(), wanted))
    return found | {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _from_log_probs(
    logits: Tensor, clean: Tensor | None, answers: Tensor, wanted: Set[str]
) -> dict[str, Tensor]:
    """In double precision on the CPU: not every device has it."""
    found = {}
    log_probs = torch.log_softmax(logits.cpu().double(), dim=-1)
    if "prob" in wanted:
        found["prob"] = log_probs.gather(1, answers[:, :1])[:, 0].exp()
    if clean is not None:
        log_clean = torch.log_softmax(clean.cpu().double(), dim=-1)
        found["kl"] = (log_clean.exp() * (log_clean - log_probs)).sum(-1)
    return found


def estimate(metric: str, patched: Outcome, clean: Outcome, bootstrap: Bootstrap) -> Estimate:
    """A metric's mean over the pairs, with its interval, in the metric's unit.

    Raises:
        RunFailure: for fldd, when the clean logit differences average to 0.
    """
    top, bottom = _per_pair(metric, patched, clean)
    if bottom is None:
        return bootstrap.mean(top)
    if bottom.mean() == 0:
        raise RunFailure(
            "fldd is not defined: the mean logit difference of the clean run is 0",
            "report logit_diff instead",
        )
    kept = bootstrap.ratio(top, bottom)
    return Estimate(1 - kept.mean, kept.n, 1 - kept.high, 1 - kept.low)


def auc(first: Tensor, second: Tensor) -> float:
    """Share of (i, j) with first_i > second_j, ties counting half; nan for none.

    By sorting: the table of all comparisons would not fit into memory for many pairs.
    """
    if not len(first) or not len(second):
        return math.nan
    ordered = second.sort().values
    below, up_to = (
        int(torch.searchsorted(ordered, first.contiguous(), right=right).sum())
        for right in (False, True)
    )
    return (below + up_to) / (2 * len(first) * len(second))


def _per_pair(metric: str, patched: Outcome, clean: Outcome) -> tuple[Tensor, Tensor | None]:
    """The numbers whose mean is taken; with a second row, one minus the ratio of the means."""
    difference = patched.logit_diff
    if metric == "fldd":
        return difference, clean.logit_diff
    plain = {
        "logit_diff": difference,
        "output": difference,
        "flip_rate": (difference * clean.logit_diff < 0).double(),
        "positive_rate": (difference > 0).double(),
        "interchange_accuracy": patched.hit,
        "prob": patched.prob,
        "kl": patched.kl,
    }[metric]
    assert plain is not None
    return plain, None
