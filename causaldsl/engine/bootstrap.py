"""Means and ratios of means over pairs, with percentile bootstrap intervals (95%).

For the ratio of means both means are taken over the same resample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_KEPT = 2**21
"""Drawn pairs at a time: 16 MB of indices."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n pairs with its bootstrap interval (95%)."""

    mean: float
    n: int
    low: float
    high: float


class Bootstrap:
    """Resamples of pairs: the same ones for all numbers over equally many pairs."""

    def __init__(self, generator: torch.Generator, resamples: int):
        self.resamples = resamples
        self._start = generator.get_state()
        self._kept: dict[int, Tensor] = {}

    def mean(self, values: Tensor) -> Estimate:
        """Mean of numbers by pair (n,)."""
        (means,) = self.means(values)
        return interval(float(values.mean()), len(values), means)

    def ratio(self, top: Tensor, bottom: Tensor) -> Estimate:
        """mean(top) / mean(bottom) over the same pairs; 0 if the lower one is 0.

        A draw whose lower mean is 0 has no ratio and is left out.
        """
        if bottom.mean() == 0:
            return Estimate(0.0, len(top), 0.0, 0.0)
        upper, lower = self.means(top, bottom)
        defined = lower != 0
        found = top.mean() / bottom.mean()
        ratios = upper[defined] / lower[defined] if defined.any() else found[None]
        return interval(float(found), len(top), ratios)

    def means(self, *rows: Tensor) -> list[Tensor]:
        """Means (r,) of each row of numbers by pair (n,), in the same resamples."""
        n = len(rows[0])
        found: list[list[Tensor]] = [[] for _ in rows]
        for draws in self._draws(n):
            for means, values in zip(found, rows, strict=True):
                means.append(values[draws].mean(1))
        return [torch.cat(means) for means in found]

    def _draws(self, n: int) -> Iterator[Tensor]:
        """Draws (r, n) of n pairs: kept, or drawn again in parts where they take much memory."""
        if n in self._kept:
            yield self._kept[n]
            return
        generator = torch.Generator()
        generator.set_state(self._start)
        at_once = max(1, _KEPT // max(1, n))
        for begin in range(0, self.resamples, at_once):
            draws = draw(n, generator, min(at_once, self.resamples - begin))
            if at_once >= self.resamples:
                self._kept[n] = draws
            yield draws


def draw(n: int, generator: torch.Generator, resamples: int) -> Tensor:
    """Bootstrap draws (resamples, n) of n pairs."""
    return torch.randint(0, n, (resamples, n), generator=generator)


def interval(mean: float, n: int, means: Tensor) -> Estimate:
    """A number over n pairs with the 95% interval of its values in bootstrap draws."""
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return Estimate(mean, n, low, high)
