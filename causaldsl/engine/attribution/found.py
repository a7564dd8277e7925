"""What an attribution found: estimates by pair, and exact effects of a sample beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.stats import rankdata
from torch import Tensor

from causaldsl.engine.bootstrap import Bootstrap, Estimate, Over, all_ends
from causaldsl.engine.drawn import Drawn, sampled
from causaldsl.engine.metrics import ROUNDING
from causaldsl.engine.session import Session

_AT_ONCE = 1024
"""Columns whose draws are made at once."""
_FEWEST = 5
"""Of fewer effects no order is too good for chance: of four, two of 24 agree or are reversed."""


@dataclass(frozen=True, eq=False)
class Attributed:
    """``estimates`` (n, c) are by pair; ``exact`` (n, s) the changes of the metric when those of
    the columns ``drawn`` are patched; ``clean`` (n,) is the metric of the bases. What is measured
    is within ``rounding`` of what it is."""

    estimates: Tensor
    exact: Tensor
    drawn: tuple[int, ...]
    clean: Tensor
    bootstrap: Bootstrap
    rounding: float

    @cached_property
    def means(self) -> Tensor:
        """The estimates (c,) over the pairs."""
        return self.estimates.mean(0)

    def largest(self, count: int) -> list[int]:
        """The columns with the largest estimates, whatever their sign, in order of size; of equal
        ones the first."""
        order = torch.argsort(-self.means.abs(), stable=True)
        found: list[int] = order[:count].tolist()
        return found

    def intervals(self, columns: Sequence[int]) -> list[Estimate]:
        """The estimates of some columns with their intervals."""
        return _intervals(self.bootstrap, self.estimates[:, list(columns)])

    def exact_intervals(self) -> list[Estimate]:
        """The exact effects with theirs."""
        return _intervals(self.bootstrap, self.exact)

    @cached_property
    def moving(self) -> Tensor:
        """Which of those drawn (s,) do something: in some pair the estimate is not 0, or the exact
        effect is more than rounding. A feature that no prompt of the pairs has does nothing."""
        estimated = (self.estimates[:, list(self.drawn)] != 0).any(0)
        return estimated | (self.exact.abs() > self.rounding).any(0)

    @cached_property
    def rank_correlation(self) -> Drawn:
        """Spearman's, of the means of estimates and exact effects of those that do something.

        Those that do nothing have the same rank on both sides, and would make any two orders alike.
        It has draws, and is withheld where too few do something, or all of one side are equal.
        """
        some, exact = (
            self.estimates[:, list(self.drawn)][:, self.moving],
            self.exact[:, self.moving],
        )
        k = exact.shape[1]
        if k < _FEWEST:
            return _none(
                f"{k} of the {len(self.moving)} that `check` drew do something on these pairs, and "
                f"a rank correlation of fewer than {_FEWEST} says nothing: let it draw more"
            )
        value = float(spearman(some.mean(0)[None], exact.mean(0)[None]))
        if not math.isfinite(value):
            return _none("all exact effects, or all estimates, are the same")

        def draws(over: Over) -> Tensor:
            both = self.bootstrap.of_columns(torch.cat([some, exact], 1), over)
            return spearman(both[:, :k], both[:, k:])

        return sampled(self.bootstrap, value, draws)


def _none(why: str) -> Drawn:
    return Drawn(float("nan"), withheld=why)


def spearman(left: Tensor, right: Tensor) -> Tensor:
    """The rank correlations (r,) of the rows of two tables (r, c); equal numbers share a rank."""
    ranks = [torch.as_tensor(rankdata(side.numpy(), axis=1)) for side in (left, right)]
    first, second = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


def _intervals(bootstrap: Bootstrap, columns: Tensor) -> list[Estimate]:
    found: list[Estimate] = []
    n, spread = bootstrap.units.count, bootstrap.spread()
    for some in columns.split(_AT_ONCE, 1):
        means = some.mean(0)
        low, high = means, means
        if n > 1:
            low, high = all_ends(bootstrap.of_columns(some), means, spread)
        ends = zip(means.tolist(), low.tolist(), high.tolist(), strict=True)
        found += [Estimate(mean, n, least, most) for mean, least, most in ends]
    return found


def rounding_of(clean: Tensor, session: Session) -> float:
    """By how much a metric of this size (n,) may differ between runs that do the same."""
    return ROUNDING[session.loaded.dtype_name] * float(clean.abs().max())


def exact_effects(runs: Mapping[str, Tensor], clean: Tensor) -> Tensor:
    """The change of the metric (n, s) in each run."""
    if not runs:
        return torch.zeros(len(clean), 0, dtype=torch.float64)
    return torch.stack([values.double() - clean for values in runs.values()], 1)
