"""Metrics: from logits to numbers by pair, and from those to a value with an interval.

The formulas are in the vocabulary (``vocabulary/measured.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.answerable import answerable, version_of
from causaldsl.engine.bootstrap import LEVEL, Bootstrap, Estimate, Over, Spread, all_ends
from causaldsl.engine.drawn import Drawn, Draws
from causaldsl.engine.shares import exact_high, exact_low, of_share
from causaldsl.plan.chunks import DOUBLE_ROWS
from causaldsl.vocabulary.metrics import EMPTY, Metric, Seen

ROUNDING = {"bfloat16": 1e-2, "float32": 1e-5, "float64": 1e-9}
"""Numbers that differ by up to this share of their size are equal, by the dtype of the run."""
_AT_ONCE = 256
"""Runs whose draws are made at once."""


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


def from_vocabulary(seen: Seen, wanted: Sequence[Metric]) -> dict[str, Tensor]:
    """Numbers by pair (n,) of the metrics that need all logits, by their words."""
    parts: list[dict[str, Tensor]] = []
    for rows in torch.arange(len(seen.logits)).split(DOUBLE_ROWS):
        clean = None if seen.clean is None else seen.clean[rows]
        some = replace(
            seen,
            logits=seen.logits[rows],
            clean=clean,
            answers=seen.answers[rows],
            counterfactual=seen.counterfactual[rows],
            sides=None if seen.sides is None else seen.sides[rows],
        )
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


class Measured(dict[str, dict[str, Estimate]]):
    """Every metric of every run, by the run's name, and all their draws at once."""

    def __init__(self, runs: Mapping[str, Outcome], clean: Outcome, bootstrap: Bootstrap):
        super().__init__({name: {} for name in runs})
        self.runs, self.clean, self.bootstrap = runs, clean, bootstrap
        self.withheld: dict[str, str] = {}

    def add(self, metric: Metric) -> None:
        """Work out a metric of all runs.

        Raises:
            RunFailure: if it is not a number, as a divergence of logits that are not finite.
        """
        names = list(self.runs)
        found = self.values_of(metric, _means(self.columns_of(metric, names))[None])[0]
        self._withhold(metric)
        if metric.word in self.withheld:
            found = torch.full_like(found, math.nan)
        elif not bool(found.isfinite().all()):
            raise RunFailure(
                f"{metric.word} is not defined: {metric.undefined}", "report another metric instead"
            )
        n = self.bootstrap.units.count
        low = high = found
        if n > 1 and metric.word not in self.withheld:
            if metric.rate:
                low, high = exact(found, self.bootstrap.units.effective)
            else:
                low, high = self._ends(metric, names, found)
        numbers = zip(names, found.tolist(), low.tolist(), high.tolist(), strict=True)
        for name, mean, below, above in numbers:
            known = metric.of_clean if self.runs[name] is self.clean else None
            if known is not None and metric.word not in self.withheld:
                self[name][metric.word] = Estimate(known, n, known, known, known)
            else:
                drawn = self._drawn(metric, name, mean)
                self[name][metric.word] = Estimate(mean, n, below, above, drawn)

    def _ends(self, metric: Metric, names: Sequence[str], found: Tensor) -> tuple[Tensor, Tensor]:
        """Both ends (c,) of the metric's intervals, of some runs at a time."""
        parts = []
        for begin in range(0, len(names), _AT_ONCE):
            some = slice(begin, begin + _AT_ONCE)
            drawn = self.draws(metric, names[some])
            parts.append(all_ends(drawn, found[some], self.bootstrap.spread()))
        low, high = (torch.cat(side) for side in zip(*parts, strict=True))
        return low, high

    def draws(
        self, metric: Metric, names: Sequence[str], over: Over = "pairs", smooth: bool = False
    ) -> Tensor:
        """The metric's values in every draw (r, c) of these runs."""
        parts = []
        for begin in range(0, len(names), _AT_ONCE):
            columns = self.columns_of(metric, names[begin : begin + _AT_ONCE])
            n, k, c = columns.shape
            means = self.bootstrap.of_columns(columns.reshape(n, k * c), over, smooth)
            means = means.reshape(-1, k, c)
            parts.append(self.values_of(metric, means))
        return torch.cat(parts, 1)

    def changes(self, metric: Metric, names: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        """The metric's change from the clean run before it is divided, by run (c,), and in every
        draw (r, c); None if it is not of the kind that says so."""
        found, draws = [], []
        for begin in range(0, len(names), _AT_ONCE):
            columns = self.columns_of(metric, names[begin : begin + _AT_ONCE])
            with answerable(type(metric), metric.word):
                moved: Tensor | None = metric.change(*columns.unbind(1))
            if moved is None:
                return None
            found.append(_means(moved))
            draws.append(self.bootstrap.of_columns(moved))
        return torch.cat(found), torch.cat(draws, 1)

    def columns_of(self, metric: Metric, names: Sequence[str]) -> Tensor:
        """The columns (n, k, c) whose means the metric of each of these runs is worked out from."""
        with answerable(type(metric), metric.word):
            found = [metric.means(self.runs[name].columns, self.clean.columns) for name in names]
            return torch.stack([torch.stack(list(columns), 1).double() for columns in found], 2)

    def values_of(self, metric: Metric, means: Tensor) -> Tensor:
        """The metric (r, c) from means (r, k, c)."""
        with answerable(type(metric), metric.word):
            found: Tensor = metric.value(*means.unbind(1))
            return found

    def _withhold(self, metric: Metric) -> None:
        """Withhold a metric that divides by what may be 0, in every run where that is its own."""
        by_divisor = {
            id(run.columns.get(EMPTY) if metric.of_empty else None): name
            for name, run in reversed(list(self.runs.items()))
        }
        for name in by_divisor.values():
            self._withhold_in(metric, name)

    def _withhold_in(self, metric: Metric, name: str) -> None:
        columns = self.columns_of(metric, [name])
        divisor = metric.divisor(*_means(columns))
        if divisor is None or metric.word in self.withheld:
            return
        n, k, _ = columns.shape
        low = high = found = divisor
        if self.bootstrap.units.count > 1:
            means = self.bootstrap.of_columns(columns.reshape(n, k))[:, :, None]
            drawn = metric.divisor(*means.unbind(1))
            assert drawn is not None
            low, high = all_ends(drawn, found, self.bootstrap.spread())
        if float(low) <= 0 <= float(high):
            self.withheld[metric.word] = (
                f"{metric.word} on {self.bootstrap.pairs} is withheld: what it divides by, "
                f"{float(found):.3g} [{float(low):.3g}, {float(high):.3g}], may be 0"
            )

    def _drawn(self, metric: Metric, name: str, mean: float) -> Drawn:
        pairs = frozenset([self.bootstrap.pairs])
        if metric.word in self.withheld:
            return Drawn(mean, None, pairs, self.withheld[metric.word])

        def make(over: Over) -> Draws:
            spread = self.bootstrap.spread(over)
            drawn = self.draws(metric, [name], over)[:, 0]
            if metric.rate:
                n = self._count(mean, drawn, spread, over)
                smooth = self.draws(metric, [name], over, smooth=True)[:, 0]
                return of_share(mean, smooth, self.bootstrap.levels(), spread, n)
            return Draws(drawn, drawn, spread)

        return Drawn(mean, make, pairs)

    def _count(self, share: float, drawn: Tensor, spread: Spread, over: Over) -> float:
        """How many equal units a share is over; fewer where sizes or templates differ."""
        n, variance = self.bootstrap.units.effective, share * (1 - share)
        if over == "pairs":
            return n
        spreads = float(drawn.var()) * spread.short
        return min(n, max(spread.n, variance / spreads) if variance and spreads else spread.n)


def _means(columns: Tensor) -> Tensor:
    return columns.mean(0)


def exact(shares: Tensor, n: float, level: float = LEVEL) -> tuple[Tensor, Tensor]:
    """Exact intervals (c,) of shares over n units of one size (``Units.effective``)."""
    levels = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    known: dict[float, tuple[float, float]] = {}
    for share in shares.tolist():
        if share not in known:
            low, high = exact_low(share, n, levels[:1]), exact_high(share, n, levels[1:])
            known[share] = float(low), float(high)
    ends = torch.tensor([known[share] for share in shares.tolist()], dtype=torch.float64)
    return ends[:, 0], ends[:, 1]


def at_chance(right: int, n: int) -> bool:
    """Whether answers of two, ``right`` of ``n``, may as well be guesses.

    The lower end of Wilson's 95% interval is not above 1/2; few prompts, most of them right, are
    no reason to doubt.
    """
    share, z2 = right / n, 1.96**2
    middle = share + z2 / (2 * n)
    half = 1.96 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return share < 0.75 and (middle - half) / (1 + z2 / n) <= 0.5


def auc(first: Tensor, second: Tensor, rounding: float = 0.0) -> float:
    """Share of (i, j) with first_i > second_j, ties counting half; nan for none.

    Values that differ by no more than ``rounding`` are equal: which of them is larger may depend on
    which prompts ran together. By sorting: the table of all comparisons would not fit into memory
    for many pairs.
    """
    if not len(first) or not len(second):
        return math.nan
    ordered = second.sort().values
    below = int(torch.searchsorted(ordered, (first - rounding).contiguous()).sum())
    up_to = int(torch.searchsorted(ordered, (first + rounding).contiguous(), right=True).sum())
    return (below + up_to) / (2 * len(first) * len(second))
