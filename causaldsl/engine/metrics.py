"""Metrics: from logits to numbers by pair, and from those to a mean with an interval.

For pair i with clean and patched logit differences c_i and p_i::

    logit_diff = mean p_i
    fldd       = 1 - mean(p_i) / mean(c_i)
    flip_rate  = mean [p_i c_i < 0]

Intervals are percentile bootstraps over pairs; for the ratio of means both means are taken over the
same resample.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure

_IN_DOUBLE_AT_ONCE = 64
"""Prompts whose logits over the whole vocabulary are in double precision at the same time."""
_DRAWN_AT_ONCE = 2**21
"""Pairs drawn at a time: 16 MB of indices."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n pairs with its bootstrap interval (95%)."""

    mean: float
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """What was kept of one run, one number a pair; None where no metric asked for it."""

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


def estimate(
    metric: str, patched: Outcome, clean: Outcome, generator: torch.Generator, resamples: int
) -> Estimate:
    """A metric's mean over the pairs, with its interval, in the metric's unit.

    Raises:
        RunFailure: for fldd, when the clean logit differences average to 0.
    """
    top, bottom = _per_pair(metric, patched, clean)
    if bottom is None:
        return mean(top, generator, resamples)
    if bottom.mean() == 0:
        raise RunFailure(
            "fldd is not defined: the mean logit difference of the clean run is 0",
            "report logit_diff instead",
        )
    kept = ratio(top, bottom, generator, resamples)
    return Estimate(1 - kept.mean, kept.n, 1 - kept.high, 1 - kept.low)


def mean(values: Tensor, generator: torch.Generator, resamples: int) -> Estimate:
    """Mean of numbers by pair (n,), with its interval."""
    (means,) = _means([values], generator, resamples)
    return interval(float(values.mean()), len(values), means)


def ratio(top: Tensor, bottom: Tensor, generator: torch.Generator, resamples: int) -> Estimate:
    """Ratio of two means over the same pairs, with its interval; 0 if the lower one is 0."""
    return _ratio(top, bottom, *_means([top, bottom], generator, resamples))


def ratio_of_draws(top: Tensor, bottom: Tensor, draws: Tensor) -> Estimate:
    """The same for given draws (r, n)."""
    return _ratio(top, bottom, top[draws].mean(1), bottom[draws].mean(1))


def _ratio(top: Tensor, bottom: Tensor, upper: Tensor, lower: Tensor) -> Estimate:
    """From the means of draws (r,); a draw whose lower mean is 0 has no ratio and is left out."""
    if bottom.mean() == 0:
        return Estimate(0.0, len(top), 0.0, 0.0)
    defined = lower != 0
    found = top.mean() / bottom.mean()
    ratios = upper[defined] / lower[defined] if defined.any() else found[None]
    return interval(float(found), len(top), ratios)


def _means(rows: list[Tensor], generator: torch.Generator, resamples: int) -> list[Tensor]:
    """Means (r,) of each row of numbers by pair in bootstrap draws, the same draws for all.

    So many draws at a time that they don't fill the memory; they are the same in parts.
    """
    n = len(rows[0])
    at_once = max(1, _DRAWN_AT_ONCE // max(1, n))
    found: list[list[Tensor]] = [[] for _ in rows]
    for begin in range(0, resamples, at_once):
        draws = draw(n, generator, min(at_once, resamples - begin))
        for means, values in zip(found, rows, strict=True):
            means.append(values[draws].mean(1))
    return [torch.cat(means) for means in found]


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


def draw(n: int, generator: torch.Generator, resamples: int) -> Tensor:
    """Bootstrap draws (resamples, n) of n pairs."""
    return torch.randint(0, n, (resamples, n), generator=generator)


def interval(mean: float, n: int, means: Tensor) -> Estimate:
    """A number over n pairs with the 95% interval of its values in bootstrap draws."""
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return Estimate(mean, n, low, high)


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
