"""Numbers that know their values in draws, so that claims can be put to any expression of them.

A :class:`Drawn` is a float with a function that gives its draws: two values a draw, the lower and
the upper one that it may have there. They are the same for a mean. They differ for a rate, whose
exact interval (Clopper and Pearson 1934) has two one-sided halves, and for the largest of several
numbers, which is bounded by the simultaneous interval of every one of them. Expressions are worked
out draw by draw, in interval arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from scipy.special import ndtr, ndtri, stdtrit
from torch import Tensor

from causaldsl.engine.bootstrap import (
    LEVEL,
    Bootstrap,
    Estimate,
    Over,
    Spread,
    lower_ends,
    upper_ends,
)

Factor = Callable[[float], float]
"""By how much an interval of a level is wider than that of a number taken alone."""


def alone(level: float) -> float:
    return 1.0


@dataclass(frozen=True)
class Draws:
    """Lower and upper values (r,) of a number in every draw, and what was drawn.

    What the largest of several goes into is as wide as if all were looked at: by its ``factor``.
    """

    low: Tensor
    high: Tensor
    spread: Spread
    factor: Factor = alone

    def ends(self, found: float, level: float = LEVEL) -> tuple[float, float]:
        """The number's interval."""
        at, factor = torch.tensor([found], dtype=torch.float64), self.factor(level)
        low = float(lower_ends(self.low[:, None], at, self.spread, level))
        high = float(upper_ends(self.high[:, None], at, self.spread, level))
        if factor == 1:
            return low, high
        return found + factor * (low - found), found + factor * (high - found)


def widest(draws: Iterable[Draws]) -> Factor:
    """The largest factor of some."""
    factors = {each.factor for each in draws if each.factor is not alone}
    return (lambda level: max(factor(level) for factor in factors)) if factors else alone


class Drawn(float):
    """A number, with its draws by what is drawn, or the reason for which it has none."""

    make: Callable[[Over], Draws] | None
    withheld: str
    pairs: frozenset[str]
    """The sets of pairs that it was measured on."""
    _made: dict[Over, Draws]

    def __new__(
        cls,
        value: float,
        make: Callable[[Over], Draws] | None = None,
        pairs: frozenset[str] = frozenset(),
        withheld: str = "",
    ) -> Drawn:
        self = super().__new__(cls, value)
        self.make, self.pairs, self.withheld, self._made = make, pairs, withheld, {}
        return self

    def draws(self, over: Over = "pairs") -> Draws:
        assert self.make is not None
        if over not in self._made:
            self._made[over] = self.make(over)
        return self._made[over]

    def interval(self, level: float = LEVEL, over: Over = "pairs") -> tuple[float, float]:
        return self.draws(over).ends(float(self), level)


def has_draws(value: float) -> bool:
    return isinstance(value, Drawn) and value.make is not None


def withheld(values: Sequence[float]) -> str:
    """Why one of these numbers is none; "" if all are numbers."""
    return next((v.withheld for v in values if isinstance(v, Drawn) and v.withheld), "")


Formula = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, Tensor]]
"""From the lower and the upper values of operands to those of the result."""


def combined(value: float, operands: Sequence[float], formula: Formula) -> float:
    """The value of an expression, which has draws if an operand has some."""
    if reason := withheld(operands):
        return Drawn(float("nan"), withheld=reason)
    drawn = [one for one in operands if isinstance(one, Drawn) and one.make is not None]
    if not drawn:
        return float(value)

    def make(over: Over) -> Draws:
        made = {id(one): one.draws(over) for one in drawn}
        spread = Spread.widest(each.spread for each in made.values())
        r = len(next(iter(made.values())).low)
        fixed = {
            id(one): torch.full((r,), float(one), dtype=torch.float64)
            for one in operands
            if id(one) not in made
        }
        lows = [made[id(o)].low if id(o) in made else fixed[id(o)] for o in operands]
        highs = [made[id(o)].high if id(o) in made else fixed[id(o)] for o in operands]
        return Draws(*formula(lows, highs), spread, widest(made.values()))

    return Drawn(value, make, frozenset().union(*(one.pairs for one in drawn)))


def monotone(function: Callable[..., Tensor]) -> Formula:
    """The formula of a function that grows with each operand."""

    def formula(lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        low = function(*lows)
        same = all(a is b for a, b in zip(lows, highs, strict=True))
        return (low, low) if same else (low, function(*highs))

    return formula


def minus(lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    low = lows[0] - highs[1]
    same = lows[0] is highs[0] and lows[1] is highs[1]
    return (low, low) if same else (low, highs[0] - lows[1])


def times(lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    corners = torch.stack([a * b for a in (lows[0], highs[0]) for b in (lows[1], highs[1])])
    return corners.amin(0), corners.amax(0)


def divided(lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """A quotient; unbounded in a draw in which the divisor may be 0."""
    corners = torch.stack([a / b for a in (lows[0], highs[0]) for b in (lows[1], highs[1])])
    open_ = (lows[1] <= 0) & (highs[1] >= 0)
    infinite = torch.full_like(lows[0], float("inf"))
    return (
        torch.where(open_, -infinite, corners.amin(0)),
        torch.where(open_, infinite, corners.amax(0)),
    )


def unbounded(lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """A quotient whose divisor has 0 in its interval: nothing is known of it."""
    infinite = torch.full_like(lows[0], float("inf"))
    return -infinite, infinite


def absolute(of: float) -> float:
    """The size of a number. Where 0 is in its interval, so is it in that of its size.

    With s the sign of the number x found, and x_r its draws, the draws of |x| are s x_r and |x_r|.
    Where the interval of x contains 0, the lower ones are |x| - |x_r - x|: were x_r to be taken, or
    s x_r cut at 0, those of a number that is 0 in truth would lie above 0 on average, and the mean
    of several such would be decided to be positive.
    """
    if reason := withheld([of]):
        return Drawn(float("nan"), withheld=reason)
    found, negative = abs(float(of)), of < 0
    if not isinstance(of, Drawn) or of.make is None:
        return found

    def make(over: Over) -> Draws:
        draws = of.draws(over)
        low, high = draws.low, draws.high
        if negative:
            low, high = -high, -low
        begin, end = draws.ends(float(of))
        largest = torch.maximum(low.abs(), high.abs())
        if begin <= 0 <= end:
            low = found - torch.maximum((low - found).abs(), (high - found).abs())
        return replace(draws, low=low, high=largest)

    return Drawn(found, make, of.pairs)


def squared(of: float) -> float:
    """A number times itself, from its size: its lower draws are below 0 where those are."""
    size = absolute(of)
    return combined(float(size) ** 2, [size], monotone(lambda each: each * each.abs()))


_HEAVY = 1.1
_FAR = 4.0
"""Standard deviations: draws that are further out say no more of a correlation."""
_COLUMNS = 2048
"""Numbers of which correlations are held at once: of thousands of cells there are millions."""


def simultaneous(
    means: Tensor,
    draws: Tensor,
    spread: Spread,
    level: float = LEVEL,
    scale: Tensor | None = None,
) -> tuple[Tensor, float]:
    """Half the widths (c,) of intervals that hold for all of some numbers at once, and by which
    factor such an interval is wider than that of a number alone.

    For numbers (c,) with draws (r, c) of standard deviations s_c, n units in s strata (max-T)::

        q     = quantile over draws of  max_c |draw_c - mean_c| / s_c
        t     = t_{p, n - s},  p = Phi(-q)
        width = 2 t sqrt(n / (n - s)) s_c

    The second line carries the quantile, which the draws give as of a normal, over to t: with few
    units the standard deviations are uncertain themselves. Numbers that no draw moves have width 0.
    Few units also make numbers look more alike than they are, so their correlations are shrunk.
    """
    if scale is None:
        scale = draws.nan_to_num(float("nan")).std(0)
    moved = (scale > 0) & scale.isfinite()
    if spread.free < 1 or not bool(moved.any()):
        return torch.zeros_like(scale), 1.0
    distances = (draws - means)[:, moved] / scale[moved]
    q = float(_shrunk(distances, spread.free).abs().amax(1).quantile(level))
    of_one = -stdtrit(spread.free, (1 - level) / 2)
    t = max(-stdtrit(spread.free, ndtr(-q)), of_one)
    half = torch.where(moved, float(t * spread.short**0.5) * scale, 0.0)
    return half, float(t / of_one)


def usual(found: Tensor, draws: Tensor) -> Tensor:
    """How far draws (r, c) of numbers (c,) lie from them: their root mean square, or where that is
    more than a tenth larger, the 95% point of the distances by that of a normal.

    Few draws of a ratio are very far out, where what it divides by is nearly 0. These make its
    standard deviation so large that the largest of many such numbers looked like one alone: of 60
    cells without effect on fldd, clean 0.7 ± 0.2, `max(s.fldd) > 0` held in 19%.
    """
    distances = (draws - found).abs().nan_to_num(float("inf"))
    most = -(-len(draws) * 19 // 20)
    far = distances.kthvalue(most, 0).values / float(-ndtri((1 - LEVEL) / 2))
    scale = distances.square().mean(0).sqrt()
    scale = torch.where((far > 0) & (scale > _HEAVY * far), far, scale)
    return torch.where(draws.std(0) == 0, 0.0, scale)


def _shrunk(z: Tensor, free: int) -> Tensor:
    """Standardised draws (r, c) whose correlations r_ij are shrunk to (1 - a) r_ij, with

        a = sum_{i != j} (1 - r_ij^2)^2 / free  /  sum_{i != j} r_ij^2        (at most 1)

    the share of what is seen of them that chance explains (Schäfer and Strimmer 2005). Without it
    one of 270 cells without effect was marked in 8% of simulations with 20 units.
    """
    rows, columns = z.shape
    seen, unlike = -float(columns), 0.0
    parts = z.clamp(-_FAR, _FAR).split(_COLUMNS, 1)
    for i, one in enumerate(parts):
        for j, other in enumerate(parts[i:]):
            squares = (one.T @ other / rows).square().clamp_max(1)
            times = 2 if j else 1  # beside the diagonal there is one as below it
            seen += times * float(squares.sum())
            unlike += times * float((1 - squares).square().sum())
    if columns == 1 or seen <= 0:
        return z
    a = min(1.0, unlike / free / seen)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return (1 - a) ** 0.5 * z + a**0.5 * noise


def widened(numbers: Sequence[Drawn]) -> float:
    """By which factor the intervals of some numbers are to be widened so that all hold at once."""
    each = [one.draws() for one in numbers]
    spread = Spread.widest(one.spread for one in each)
    found = torch.tensor([float(one) for one in numbers], dtype=torch.float64)
    lows, highs = torch.stack([one.low for one in each], 1), torch.stack([o.high for o in each], 1)
    return _together(found, lows, highs, spread)(LEVEL)


def _together(found: Tensor, lows: Tensor, highs: Tensor, spread: Spread) -> Factor:
    """The factor of numbers (c,) with draws (r, c): of each draw, what is further from the number.

    That one may lie on one side only, as for sizes, so it is measured from the number and not from
    its own mean.
    """
    draws = torch.where((lows - found).abs() >= (highs - found).abs(), lows, highs)
    scale = usual(found, draws)

    @cache
    def factor(level: float) -> float:
        return simultaneous(found, draws, spread, level, scale)[1]

    return factor


def extreme(operands: Sequence[float], sign: int) -> float:
    """The largest (sign 1) or smallest (-1) of some numbers, within what holds for all at once.

    Its lower draws are those of the number with the largest lower end, its upper ones those of the
    number with the largest upper end, by intervals that are widened to hold at once. They are moved
    to where the number found, widened by as much, has these ends.
    """
    values = [sign * float(one) for one in operands]
    if reason := withheld(operands):
        return Drawn(float("nan"), withheld=reason)
    drawn = [one for one in operands if isinstance(one, Drawn) and one.make is not None]
    top = max(values)
    if not drawn:
        return sign * top

    def make(over: Over) -> Draws:
        each = [one.draws(over) for one in drawn]
        spread = Spread.widest(one.spread for one in each)
        found = torch.tensor([sign * float(one) for one in drawn], dtype=torch.float64)
        lows, highs = (
            torch.stack([sign * getattr(one, side) for one in each], 1)
            for side in (("low", "high") if sign > 0 else ("high", "low"))
        )
        factor, inner = _together(found, lows, highs, spread), widest(each)
        wide = factor(LEVEL) * inner(LEVEL)
        lows, highs = (top + (found - top) / wide + (side - found) for side in (lows, highs))
        at = torch.full_like(found, top)
        low = lows[:, int(lower_ends(lows, at, spread).argmax())]
        high = highs[:, int(upper_ends(highs, at, spread).argmax())]
        known = [sign * float(one) for one in operands if not has_draws(one)]
        if known:
            least = top + (max(known) - top) / wide
            low, high = low.clamp_min(least), high.clamp_min(least)
        if sign < 0:
            low, high = -high, -low
        return Draws(low, high, spread, lambda level: factor(level) * inner(level))

    return Drawn(sign * top, make, frozenset().union(*(one.pairs for one in drawn)))


def mean(bootstrap: Bootstrap, values: Tensor) -> Estimate:
    """The mean of numbers by pair (n,), which knows its draws."""
    found = bootstrap.mean(values)
    return of_draws(bootstrap, found, lambda over: bootstrap.means([values], over)[0])


def ratio(bootstrap: Bootstrap, top: Tensor, bottom: Tensor) -> Estimate:
    """mean(top) / mean(bottom) over the same pairs, which knows its draws; else 0."""
    found = bootstrap.ratio(top, bottom)
    if bottom.mean() == 0:
        return found
    return of_draws(bootstrap, found, lambda over: bootstrap.ratios(top, bottom, over))


def of_draws(bootstrap: Bootstrap, found: Estimate, sample: Callable[[Over], Tensor]) -> Estimate:
    """The same number, whose draws (r,) a function gives."""
    return replace(found, drawn=sampled(bootstrap, found.mean, sample))


def sampled(bootstrap: Bootstrap, found: float, sample: Callable[[Over], Tensor]) -> Drawn:
    """A number over pairs, whose draws (r,) a function gives."""

    def make(over: Over) -> Draws:
        drawn = sample(over)
        return Draws(drawn, drawn, bootstrap.spread(over))

    return Drawn(found, make, frozenset([bootstrap.pairs]))
