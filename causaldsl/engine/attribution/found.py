"""What an attribution found: estimates by pair, and exact effects of a sample beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.stats import rankdata
from torch import Tensor

from causaldsl.engine.bootstrap import Bootstrap, Estimate, Over, all_ends
from causaldsl.engine.drawn import sampled

_AT_ONCE = 1024
"""Columns whose draws are made at once."""


@dataclass(frozen=True, eq=False)
class Attributed:
    """``estimates`` (n, c) are by pair; ``exact`` (n, s) the changes of the metric when those of
    the columns ``drawn`` are patched; ``clean`` (n,) is the metric of the bases."""

    estimates: Tensor
    exact: Tensor
    drawn: tuple[int, ...]
    clean: Tensor
    bootstrap: Bootstrap

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

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of the means of estimates and exact effects, with its draws; nan where all of
        one side are equal."""
        some = self.estimates[:, list(self.drawn)]
        value = float(spearman(some.mean(0)[None], self.exact.mean(0)[None]))

        def draws(over: Over) -> Tensor:
            both = self.bootstrap.of_columns(torch.cat([some, self.exact], 1), over)
            return spearman(both[:, : len(self.drawn)], both[:, len(self.drawn) :])

        return sampled(self.bootstrap, value, draws)


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


def exact_effects(runs: Mapping[str, Tensor], clean: Tensor) -> Tensor:
    """The change of the metric (n, s) in each run."""
    if not runs:
        return torch.zeros(len(clean), 0, dtype=torch.float64)
    return torch.stack([values.double() - clean for values in runs.values()], 1)
