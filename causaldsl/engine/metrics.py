"""Metrics: from logits to numbers by pair, and from those to a mean with an interval.

For pair i with clean and patched logit differences c_i and p_i::

    logit_diff = mean p_i
    fldd       = 1 - mean(p_i) / mean(c_i)
    flip_rate  = mean [p_i c_i < 0]

Intervals are percentile bootstraps over pairs; for the ratio of means both means are taken over the
same resample.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure


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
    # In double precision on the CPU: not every device has it.
    log_probs = torch.log_softmax(logits.cpu().double(), dim=-1)
    if "prob" in wanted:
        found["prob"] = log_probs.gather(1, answers[:, :1].cpu())[:, 0].exp()
    if "kl" in wanted:
        assert clean is not None
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
    draws = draw(len(values), generator, resamples)
    return interval(float(values.mean()), len(values), values[draws].mean(1))


def ratio(top: Tensor, bottom: Tensor, generator: torch.Generator, resamples: int) -> Estimate:
    """Ratio of two means over the same pairs, with its interval; 0 if the lower one is 0."""
    return ratio_of_draws(top, bottom, draw(len(top), generator, resamples))


def ratio_of_draws(top: Tensor, bottom: Tensor, draws: Tensor) -> Estimate:
    """The same for given draws (r, n); one whose lower mean is 0 has no ratio, and is left out."""
    if bottom.mean() == 0:
        return Estimate(0.0, len(top), 0.0, 0.0)
    lower = bottom[draws].mean(1)
    defined = lower != 0
    found = top.mean() / bottom.mean()
    ratios = top[draws].mean(1)[defined] / lower[defined] if defined.any() else found[None]
    return interval(float(found), len(top), ratios)


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
