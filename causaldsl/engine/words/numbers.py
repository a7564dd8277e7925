"""Numbers: cosines, norms, arithmetic, tables, and the claims of `expect`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import LEVEL, Over, Spread
from causaldsl.engine.drawn import (
    Drawn,
    absolute,
    combined,
    divided,
    extreme,
    minus,
    monotone,
    squared,
    times,
    unbounded,
    withheld,
)
from causaldsl.engine.here import Here
from causaldsl.engine.metrics import ROUNDING, Measured
from causaldsl.engine.registry import evaluates
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.weights.matrices import matrix
from causaldsl.graph.operations import TableWord
from causaldsl.vocabulary.matrices import Matrix
from causaldsl.vocabulary.numbers import (
    Abs,
    ArgmaxIs,
    Arithmetic,
    Average,
    Compare,
    Constant,
    Cos,
    Intercept,
    Largest,
    LineR2,
    Norm,
    Result,
    Slope,
    Smallest,
)

_ARITHMETIC = {
    "+": (operator.add, monotone(operator.add)),
    "-": (operator.sub, minus),
    "*": (operator.mul, times),
    "/": (operator.truediv, divided),
}


@dataclass(frozen=True)
class Verdict:
    """Both sides of a claim, and whether it holds; None if that is undecided.

    For an audit's verdict, what was ``found``. Where numbers have draws, the interval of the
    ``difference`` at this ``level``, over ``n`` units of pairs or templates. ``why`` says what
    stood against a decision.
    """

    left: float
    right: float
    held: bool | None
    found: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    level: float = LEVEL
    over: Over = "pairs"
    why: str = ""


@evaluates(Constant)
def constant(here: Here[Constant]) -> float:
    return here.word.value


@evaluates(Matrix)
def model_matrix(here: Here[Matrix]) -> Tensor:
    word = here.word
    return matrix(here.session.loaded, word.name, word.layer, word.head).cpu()


@evaluates(Cos)
def cos(left: SubspaceValue, right: SubspaceValue) -> float:
    if left.rank == 0 or right.rank == 0:
        return Drawn(float("nan"), withheld="the cosine with a zero vector is not defined")
    if left.rank == right.rank == 1:
        return float(left.direction @ right.direction)
    return float(torch.linalg.svdvals(left.basis.T @ right.basis).max())


@evaluates(Norm)
def norm(of: SubspaceValue) -> float:
    return float(of.vectors.norm())


@evaluates(Abs)
def size(of: float) -> float:
    return absolute(of)


@evaluates(Largest)
def largest(of: list[float]) -> float:
    return extreme(of, 1)


@evaluates(Smallest)
def smallest(of: list[float]) -> float:
    return extreme(of, -1)


@evaluates(Average)
def average(of: list[float]) -> float:
    def mean(*parts: Tensor) -> Tensor:
        return torch.stack(parts).mean(0)

    return combined(math.fsum(of) / len(of), of, monotone(mean))


@evaluates(Slope)
def slope(of: list[float], over: list[float]) -> float:
    return _of_line(of, over, _summed(_rise))


@evaluates(Intercept)
def intercept(of: list[float], over: list[float]) -> float:
    def start(x: Tensor) -> Tensor:
        return 1 / len(x) - x.mean(0) * _rise(x)

    return _of_line(of, over, _summed(start))


@evaluates(LineR2)
def line_r2(of: list[float], over: list[float]) -> float:
    def share(y: Tensor, x: Tensor) -> Tensor:
        y, x = y - y.mean(0), x - x.mean(0)
        left = y - (_rise(x) * y).sum(0) * x
        return 1 - left.square().sum(0) / y.square().sum(0)

    def ends(low: Tensor, high: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """No bound but its own where values may lie at several heights: it grows with none."""
        one, found = (low == high).all(0), share(low, x)
        return torch.where(one, found, 0.0), torch.where(one, found, 1.0)

    if len({float(each) for each in of}) == 1:
        return undefined(of, "a line through equal values has no R2")
    return _of_line(of, over, ends)


def _rise(x: Tensor) -> Tensor:
    """What the slope of the line through values at places x (k, r) multiplies each value by."""
    x = x - x.mean(0)
    return x / x.square().sum(0)


OfLine = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""From the lower and the upper values (k, r) and their places to a number's, (r,)."""


def _summed(weights: Callable[[Tensor], Tensor]) -> OfLine:
    """A sum of values, each times a weight that the places give."""

    def ends(low: Tensor, high: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        by = weights(x)
        first, second = by * low, by * high
        return torch.minimum(first, second).sum(0), torch.maximum(first, second).sum(0)

    return ends


def _of_line(of: list[float], over: list[float], function: OfLine) -> float:
    """A number of the line through values at places; unbounded in a draw that has no such line."""
    both, k = [*of, *over], len(of)
    if len({float(each) for each in over}) == 1:
        return undefined(both, "a line needs values at two places at least")

    def formula(lows: Sequence[Tensor], highs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        low, high = torch.stack(list(lows[:k])), torch.stack(list(highs[:k]))
        places = [torch.stack(list(side[k:])) for side in (lows, highs)]
        found = torch.stack([end for x in places for end in function(low, high, x)])
        known = found.isfinite().all(0) & (places[0] == places[1]).all(0)
        infinite = torch.full_like(found[0], float("inf"))
        return (
            torch.where(known, found.amin(0), -infinite),
            torch.where(known, found.amax(0), infinite),
        )

    here = [torch.tensor([float(each)], dtype=torch.float64) for each in both]
    return combined(float(formula(here, here)[0]), both, formula)


def undefined(of: Sequence[float], why: str) -> float:
    """What is not defined for these numbers: withheld if they were measured, else a mistake."""
    if not any(isinstance(one, Drawn) for one in of):
        raise RunFailure(why)
    return Drawn(float("nan"), withheld=withheld(of) or why)


@evaluates(TableWord)
def table(here: Here[TableWord]) -> dict[str, float]:
    """The number of every cell, by arm and cell."""
    return {cell.role: here.value(cell.role) for cell in here.operation.inputs}


@evaluates(Result)
def result(here: Here[Result], measure: Measured) -> float:
    """A number with its draws; a toy model's has none: its inputs are drawn from nothing."""
    found = measure[here.word.arm][here.word.metric]
    if not here.session.loaded.spec.shapes.text:
        return found.mean
    drawn: float = found.drawn
    return drawn


@evaluates(Arithmetic)
def arithmetic(here: Here[Arithmetic], left: float, right: float) -> float:
    if here.word.operator == "/" and right == 0:
        return undefined([right], "division by zero in an expression of the program")
    if here.word.operator == "*" and left is right:
        return squared(left)
    plain, formula = _ARITHMETIC[here.word.operator]
    if here.word.operator == "/" and isinstance(right, Drawn) and right.make is not None:
        low, high = right.interval()
        formula = unbounded if low <= 0 <= high else formula
    return combined(plain(float(left), float(right)), [left, right], formula)


@evaluates(Compare)
def compare(here: Here[Compare], left: float, right: float) -> Verdict:
    word, sides = here.word, (float(left), float(right))
    if reason := withheld([left, right]):
        return Verdict(*sides, None, level=word.level, over=word.over, why=reason)
    if not (math.isfinite(left) and math.isfinite(right)):
        why = f"{left:g} compared with {right:g} says nothing"
        return Verdict(*sides, None, level=word.level, over=word.over, why=why)
    rounding = ROUNDING[here.session.loaded.dtype_name]
    difference = combined(sides[0] - sides[1], [left, right], minus)
    if not isinstance(difference, Drawn):
        held = _decided(
            word.operator, difference, difference, rounding * max(1.0, *map(abs, sides))
        )
        return Verdict(*sides, held, difference=difference)
    draws = difference.draws(word.over)
    low, high = draws.ends(float(difference), word.level)
    held = _decided(word.operator, low, high, rounding * max(map(abs, sides)))
    return Verdict(
        *sides,
        held,
        difference=float(difference),
        low=low,
        high=high,
        n=draws.spread.n,
        level=word.level,
        over=word.over,
        why=few(draws.spread, word.over) if held is None else "",
    )


@evaluates(ArgmaxIs)
def argmax_is(here: Here[ArgmaxIs], cell: float, others: list[float]) -> Verdict:
    """Whether one number is larger than all others.

    It holds if its difference to every other one, taken alone, has an interval above 0: an
    intersection of tests. It falls if one of the differences lies below 0 with an interval that
    holds for all of them at once.
    """
    word, best = here.word, max(map(float, others))
    sides = float(cell), best
    if reason := withheld([cell, *others]):
        return Verdict(*sides, None, level=word.level, over=word.over, why=reason)
    differences = [combined(float(cell) - float(o), [cell, o], minus) for o in others]
    drawn = [one for one in differences if isinstance(one, Drawn)]
    rounding = ROUNDING[here.session.loaded.dtype_name] * max(map(abs, sides))
    if not drawn:
        return Verdict(*sides, min(differences) > rounding, difference=min(differences))
    known = [one for one in differences if not isinstance(one, Drawn)]
    lows = [*known, *(one.interval(word.level, word.over)[0] for one in drawn)]
    worst = extreme(differences, -1)
    assert isinstance(worst, Drawn)
    draws = worst.draws(word.over)
    _, high = draws.ends(float(worst), word.level)
    held = True if min(lows) > rounding else False if high < -rounding else None
    return Verdict(
        *sides,
        held,
        difference=float(worst),
        low=min(lows),
        high=high,
        n=draws.spread.n,
        level=word.level,
        over=word.over,
        why=few(draws.spread, word.over) if held is None else "",
    )


def few(spread: Spread, over: Over) -> str:
    """What stands against any decision: nothing is known of the spread of a single unit."""
    return "" if spread.free > 0 else f"one {over[:-1]} says nothing of other {over}"


def _decided(operator: str, low: float, high: float, rounding: float) -> bool | None:
    """Whether a difference between ``low`` and ``high`` compares so with 0; None if it may or not.

    A difference that lies within ``rounding`` of 0 as a whole is 0. Where only one end does, and is
    not 0 itself, it may lie on either side, so it counts on the one that leaves 0 inside.
    """
    if max(abs(low), abs(high)) <= rounding:
        low = high = 0.0
    elif 0 < abs(low) <= rounding:
        low = -abs(low)
    elif 0 < abs(high) <= rounding:
        high = abs(high)
    above, below = (low > 0, low >= 0), (high < 0, high <= 0)
    match operator:
        case ">" | ">=":
            holds, fails = above[operator == ">="], below[operator == ">"]
        case "<" | "<=":
            holds, fails = below[operator == "<="], above[operator == "<"]
        case _:
            same, other = low == high == 0, above[0] or below[0]
            holds, fails = (same, other) if operator == "==" else (other, same)
    return True if holds else False if fails else None
