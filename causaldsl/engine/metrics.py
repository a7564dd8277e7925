"""Metrics: from logits to numbers by pair, and from those to a value with an interval.

The formulas are in the vocabulary (``vocabulary/metrics.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.answerable import answerable, version_of
from causaldsl.engine.bootstrap import Bootstrap, Estimate, interval
from causaldsl.plan.chunks import DOUBLE_ROWS
from causaldsl.vocabulary.metrics import Metric, Seen


@dataclass(frozen=True)
class Outcome:
    """What was kept of one run: ``columns`` of numbers by pair (n,).

    `logit_diff` is always there (of a toy model, the output); others under the words of metrics
    that are worked out from the whole vocabulary, where the program reports them.
    """

    columns: dict[str, Tensor]
    largest_change: float = 0.0

    @property
    def logit_diff(self) -> Tensor:
        return self.columns["logit_diff"]


def from_answers(logits: Tensor) -> Tensor:
    """Logit differences (...) from the logits of answers and foils, (..., 2)."""
    return (logits[..., 0] - logits[..., 1]).cpu().double()


def from_vocabulary(seen: Seen, wanted: Sequence[Metric]) -> dict[str, Tensor]:
    """Numbers by pair (n,) of the metrics that need all logits, by their words."""
    parts: list[dict[str, Tensor]] = []
    for rows in torch.arange(len(seen.logits)).split(DOUBLE_ROWS):
        clean = None if seen.clean is None else seen.clean[rows]
        some = Seen(seen.logits[rows], clean, seen.answers[rows], seen.counterfactual[rows])
        parts.append({m.word: _by_pair(m, some) for m in wanted})
    return {m.word: torch.cat([part[m.word] for part in parts]) for m in wanted}


def _by_pair(metric: Metric, seen: Seen) -> Tensor:
    """A metric's numbers (n,) in double precision on the CPU."""
    with answerable(type(metric), metric.word):
        given = [one for one in (seen.logits, seen.clean, seen.answers) if one is not None]
        versions = [version_of(one) for one in given]
        found = metric.of_vocabulary(seen).cpu()
        if [version_of(one) for one in given] != versions:
            raise ValueError("it changes logits that other metrics read too; change a copy")
        if found.is_complex() or found.shape != (len(seen.logits),):
            raise ValueError(
                f"one number a pair is expected, not {tuple(found.shape)} {found.dtype}"
            )
    return found.double()


def estimate(metric: Metric, run: Outcome, clean: Outcome, bootstrap: Bootstrap) -> Estimate:
    """A metric over the pairs, with its interval, in the metric's unit.

    A draw of pairs in which it is not defined is left out.

    Raises:
        RunFailure: if it is not a number, as fldd where the clean logit differences average to 0.
    """
    with answerable(type(metric), metric.word):
        columns = metric.means(run.columns, clean.columns)
        found = float(metric.value(*(column.mean() for column in columns)))
        drawn = metric.value(*bootstrap.means(*columns))
    if not math.isfinite(found):
        raise RunFailure(
            f"{metric.word} is not defined: {metric.undefined}", "report another metric instead"
        )
    return interval(found, len(columns[0]), drawn[drawn.isfinite()])


def at_chance(right: int, n: int) -> bool:
    """Whether answers of two, ``right`` of ``n``, may as well be guesses.

    The lower end of Wilson's 95% interval is not above 1/2; few prompts, most of them right, are
    no reason to doubt.
    """
    share, z2 = right / n, 1.96**2
    middle = share + z2 / (2 * n)
    half = 1.96 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return share < 0.75 and (middle - half) / (1 + z2 / n) <= 0.5


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
