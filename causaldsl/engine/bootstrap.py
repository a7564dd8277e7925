"""Means over pairs and what follows from them, in bootstrap draws of units, and their intervals.

A draw weights every pair by how often its unit was drawn, so for weights w and numbers x by pair::

    mean in a draw = sum_i w_i x_i / sum_i w_i

Units are drawn within their strata (``check/units.py``). For claims about other templates too,
templates are drawn first, and then as many units as each has. A resample spreads too little by
(n - s) / n for n units in s strata, and is closer to a normal than to a t distribution. So the
percentiles of a 1 - a interval lie at (Hesterberg 2015, "What teachers should know about the
bootstrap", for one stratum)::

    Phi(-sqrt(n / (n - s)) t_{a/2, n - s})        and as far from the other end

A stratum of n_h units alone spreads too little by (n_h - 1) / n_h. Where strata differ in size, the
weights of each are spread by what this is off from the common share (Rao and Wu 1988)::

    w_i -> 1 + c_h (w_i - 1),   c_h^2 = n_h (n - s) / ((n_h - 1) n)

A tail with fewer than eight draws is carried on from the 2.5% points, in units of a normal's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from scipy.special import ndtr, ndtri, stdtr, stdtrit
from torch import Tensor

from causaldsl.check.units import Units

Over = Literal["pairs", "templates"]
"""Whether other pairs of these templates are spoken of, or other templates too."""
LEVEL = 0.95
_KEPT = 2**22
"""Weights at a time: 32 MB."""
_FEWEST, _NEAR = 8, 0.025


@dataclass(frozen=True)
class Spread:
    """What was drawn, which says how far the percentiles are to be expanded.

    ``short`` is by how much the draws' variance is too small. A number from several sets of pairs
    has the fewest degrees of freedom and the largest ``short`` of them.
    """

    n: int
    free: int
    short: float

    @staticmethod
    def of(n: int, strata: int = 1) -> Spread:
        """Of n units in so many strata."""
        return Spread(n, n - strata, n / max(1, n - strata))

    @staticmethod
    def widest(spreads: Iterable[Spread]) -> Spread:
        """What holds for a number that is made from numbers with these."""
        each = list(spreads)
        return Spread(
            min(one.n for one in each), min(o.free for o in each), max(o.short for o in each)
        )

    def tail(self, level: float = LEVEL) -> float:
        """The share of draws that lies outside of an interval, at each end."""
        return float(ndtr(-self.distance(level))) if self.free >= 1 else 0.0

    def distance(self, level: float = LEVEL) -> float:
        """How many standard deviations of the draws the ends of an interval are away."""
        return float(-stdtrit(self.free, (1 - level) / 2) * self.short**0.5)

    def level_of(self, share: Tensor) -> Tensor:
        """The inverse of the tail: the level a/2 whose percentile is this share of draws."""
        if self.free < 1:
            return torch.full_like(share, 0.5)
        z = ndtri(share.numpy()) / self.short**0.5
        return torch.as_tensor(stdtr(self.free, z))


@dataclass(frozen=True)
class Estimate:
    """A number over n units with its bootstrap interval (95%).

    One over one unit has no interval: both ends are the number. One that is withheld is nan.
    """

    mean: float
    n: int
    low: float
    high: float
    drawn: Any = field(default=None, compare=False, repr=False)
    """The number with its values in draws, which are made when a claim asks (``drawn.Drawn``)."""

    def record(self) -> dict[str, Any]:
        return {"mean": self.mean, "n": self.n, "low": self.low, "high": self.high}


class Bootstrap:
    """Resamples of the units of pairs: the same ones for all numbers on these pairs."""

    def __init__(self, generator: torch.Generator, resamples: int, units: Units, pairs: str = ""):
        self.resamples, self.units, self.pairs = resamples, units, pairs
        self._start = generator.get_state()
        self._kept: dict[tuple[Over, bool], Tensor] = {}

    def spread(self, over: Over = "pairs") -> Spread:
        if over == "templates":
            return Spread.of(len(self.units.templates))
        return Spread.of(self.units.count, self.units.count - self.units.free)

    def mean(self, values: Tensor) -> Estimate:
        """Mean of numbers by pair (n,)."""
        return self.interval(float(values.mean()), self.means([values])[0])

    def ratio(self, top: Tensor, bottom: Tensor) -> Estimate:
        """mean(top) / mean(bottom) over the same pairs; 0 if the lower one is 0.

        A draw whose lower mean is 0 has no ratio and is left out.
        """
        if bottom.mean() == 0:
            return Estimate(0.0, self.units.count, 0.0, 0.0)
        found = float(top.mean() / bottom.mean())
        return self.interval(found, self.ratios(top, bottom))

    def ratios(self, top: Tensor, bottom: Tensor, over: Over = "pairs") -> Tensor:
        """The ratio in every draw in which the lower mean is not 0."""
        upper, lower = self.means([top, bottom], over)
        defined = lower != 0
        found = top.mean() / bottom.mean()
        return torch.where(defined, upper / torch.where(defined, lower, 1.0), found)

    def interval(self, found: float, draws: Tensor) -> Estimate:
        """A number with the interval of its values in draws, those left out that are not finite."""
        n = self.units.count
        if n == 1:
            return Estimate(found, 1, found, found)
        low, high = ends(draws, found, self.spread())
        return Estimate(found, n, low, high)

    def means(self, rows: Sequence[Tensor], over: Over = "pairs") -> list[Tensor]:
        """Means (r,) of each row of numbers by pair (n,), in the same draws."""
        return list(self.of_columns(torch.stack([row.double() for row in rows], 1), over).unbind(1))

    def of_columns(self, columns: Tensor, over: Over = "pairs", smooth: bool = False) -> Tensor:
        """Means (r, c) of columns of numbers by pair (n, c)."""
        parts = [w @ columns / w.sum(1, keepdim=True) for w in self.weights(over, smooth)]
        return torch.cat(parts)

    def weights(self, over: Over = "pairs", smooth: bool = False) -> Iterator[Tensor]:
        """How often each pair was drawn (r, n), by stratum as far as all others from 1.

        ``smooth`` weights have the same order, unit by unit, and an exponential distribution, so
        that no unit is left out of a draw (``shares.py``). In parts, drawn again, where there are
        many.
        """
        if (over, smooth) in self._kept:
            yield self._kept[over, smooth]
            return
        generator = torch.Generator()
        generator.set_state(self._start)
        n = len(self.units.of_pair)
        at_once = max(1, _KEPT // max(1, n))
        for begin in range(0, self.resamples, at_once):
            rows = min(at_once, self.resamples - begin)
            drawn = self._drawn(generator, rows, over)
            weights = (self._smoothed(drawn, begin) if smooth else drawn)[:, self._of_pair]
            if at_once >= self.resamples:
                self._kept[over, smooth] = weights
            yield weights

    def levels(self) -> Tensor:
        """Levels (r,) between 0 and 1, evenly spread, in an order that has to do with no unit's."""
        order = torch.randperm(self.resamples, generator=self._another(-1))
        return (order.double() + 0.5) / self.resamples

    def _smoothed(self, drawn: Tensor, part: int) -> Tensor:
        """Exponential numbers (r, units) that are ordered as the counts are, ties by lot."""
        generator = self._another(part)
        lot = torch.rand(drawn.shape, generator=generator, dtype=torch.float64)
        by_lot = lot.argsort(0)
        order = by_lot.gather(0, drawn.gather(0, by_lot).argsort(dim=0, stable=True))
        places = torch.arange(len(drawn), dtype=torch.float64)[:, None].expand_as(lot)
        ranks = torch.empty_like(lot).scatter_(0, order, places)
        within = torch.rand(drawn.shape, generator=generator, dtype=torch.float64)
        return -torch.log1p(-(ranks + within) / len(drawn))

    def _another(self, part: int) -> torch.Generator:
        """A generator for what is drawn besides the units, by part."""
        start = torch.Generator()
        start.set_state(self._start)
        return torch.Generator().manual_seed((start.initial_seed() + 2 + part) % 2**63)

    def _drawn(self, generator: torch.Generator, rows: int, over: Over) -> Tensor:
        """How often each unit was drawn, (rows, units)."""
        found = torch.zeros(rows, self.units.count, dtype=torch.float64)
        groups = self._by(self.units.strata if over == "pairs" else self.units.of_template)
        times = torch.ones(rows, len(groups), dtype=torch.long)
        if over == "templates":
            drawn = torch.randint(len(groups), times.shape, generator=generator)
            times = torch.zeros_like(times).scatter_add_(1, drawn, torch.ones_like(drawn))
        for group, wanted in zip(groups, times.unbind(1), strict=True):
            ones = torch.ones(rows, len(group), dtype=torch.float64)
            for again in range(int(wanted.max())):
                chosen = torch.randint(len(group), ones.shape, generator=generator)
                of_these = ones * (wanted > again)[:, None]
                found.scatter_add_(1, group[chosen], of_these)
        return found if over == "templates" else self._evened(found, groups)

    def _evened(self, drawn: Tensor, strata: Sequence[Tensor]) -> Tensor:
        """Counts (r, units) spread by stratum so that all are short by the same share."""
        n, free = self.units.count, self.units.free
        for units in strata:
            k = len(units)
            if k > 1 and k * free != (k - 1) * n:
                scale = (k * free / ((k - 1) * n)) ** 0.5
                drawn[:, units] = 1 + scale * (drawn[:, units] - 1)
        return drawn

    @cached_property
    def _of_pair(self) -> Tensor:
        return torch.tensor(self.units.of_pair)

    def _by(self, labels: Sequence[int]) -> list[Tensor]:
        given = torch.tensor(labels)
        return [(given == label).nonzero()[:, 0] for label in range(int(given.max()) + 1)]


def ends(draws: Tensor, found: float, spread: Spread, level: float = LEVEL) -> tuple[float, float]:
    """Both ends of the interval of a number with these values (r,) in draws."""
    low, high = all_ends(draws[:, None], torch.tensor([found]), spread, level)
    return float(low), float(high)


def all_ends(
    draws: Tensor, found: Tensor, spread: Spread, level: float = LEVEL
) -> tuple[Tensor, Tensor]:
    """The same for many numbers (c,) with draws (r, c)."""
    return lower_ends(draws, found, spread, level), upper_ends(draws, found, spread, level)


def lower_ends(draws: Tensor, found: Tensor, spread: Spread, level: float = LEVEL) -> Tensor:
    """The lower ends (c,); a draw that is no number counts as below all others."""
    if spread.free < 1:
        return torch.full_like(found, float("-inf"), dtype=torch.float64)
    ordered = draws.nan_to_num(float("-inf"), float("inf"), float("-inf")).sort(0).values
    tail = spread.tail(level)
    if tail * len(draws) >= _FEWEST:
        return _quantile(ordered, tail)
    near = _quantile(ordered, _NEAR)
    return found + (near - found) * float(-spread.distance(level) / ndtri(_NEAR))


def upper_ends(draws: Tensor, found: Tensor, spread: Spread, level: float = LEVEL) -> Tensor:
    return -lower_ends(-draws, -found, spread, level)


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """Of each sorted column (r, c), linear between its values; an infinite one stays what it is."""
    place = share * (len(ordered) - 1)
    below = int(place)
    first, second = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return torch.where(first == second, first, first + (place - below) * (second - first))
