"""Shares of units for which something is so, in draws: exact alone, and in what they go into.

A draw weights n units, and one more of which nothing is known, by w_0 .. w_n ~ Dirichlet(1 .. 1).
The share of numbers x_i by unit, each between 0 and 1, lies there between::

    low  = sum_i w_i x_i              as if the unknown unit had 0
    high = sum_i w_i x_i + w_0        as if it had 1

The percentiles a/2 of the lower and 1 - a/2 of the upper values are Gaffke's bounds for the mean of
a bounded number (2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean
of a nonnegative variable"; Learned-Miller and Thomas 2019); of a share, those of Clopper and
Pearson (1934). All shares on the same pairs have the same weights. So the lower and upper values of
a difference, low_a - high_b and high_a - low_b, give these bounds for the mean of a_i - b_i, which
is between -1 and 1: if two arms agree in every unit, the interval is as wide as that of 0 in n. The
same holds for sums and multiples. That the bounds hold is proved for shares, and seen in every
simulation for other numbers (``docs/make_claims.py``). Shares on different pairs have independent
draws, and their differences the interval of Fay, Proschan and Brittain (2015).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from scipy.special import betaincinv
from torch import Tensor

from causaldsl.engine.bootstrap import Spread
from causaldsl.engine.drawn import Draws


def of_share(found: float, means: Tensor, levels: Tensor, spread: Spread, n: float) -> Draws:
    """Draws of a share, whose ends are those of the exact interval over n units.

    ``means`` (r,) are the share's by smooth weights, ``levels`` (r,) those of w_0, the same ones
    for all shares on the same pairs. Every draw keeps its rank, and has the exact value of it.
    """
    unknown = 1 - (1 - levels) ** (1 / n)
    low = (1 - unknown) * means
    lows, highs = _in_order(found, n, len(means), spread)
    return Draws(_ordered(lows, low), _ordered(highs, low + unknown), spread)


def exact_low(found: float, n: float, levels: Tensor) -> Tensor:
    """Clopper and Pearson's lower limits of a share at these levels."""
    k = found * n
    return torch.zeros_like(levels) if k <= 0 else _beta(k, n - k + 1, levels)


def exact_high(found: float, n: float, levels: Tensor) -> Tensor:
    """The upper limits."""
    k = found * n
    return torch.ones_like(levels) if k >= n else _beta(k + 1, n - k, levels)


def _beta(a: float, b: float, levels: Tensor) -> Tensor:
    return torch.as_tensor(betaincinv(a, b, levels.numpy()))


@lru_cache(maxsize=256)
def _in_order(found: float, n: float, count: int, spread: Spread) -> tuple[Tensor, Tensor]:
    """So many lower and upper values of a share, from the least on; cells of a sweep share them."""
    levels = spread.level_of((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return exact_low(found, n, levels), exact_high(found, n, levels)


def _ordered(values: Tensor, like: Tensor) -> Tensor:
    """Values that rise, in the order of others (r,)."""
    return torch.empty_like(values).scatter_(0, like.argsort(), values)
