"""Numbers: cosines, norms, arithmetic, tables, and the claims of `expect`."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.weights.matrices import matrix
from causaldsl.graph.operations import TableWord
from causaldsl.vocabulary.matrices import Matrix
from causaldsl.vocabulary.numbers import (
    Abs,
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
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARE = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": lambda a, b: abs(a - b) <= 1e-9 * max(1.0, abs(a), abs(b)),
    "!=": lambda a, b: abs(a - b) > 1e-9 * max(1.0, abs(a), abs(b)),
}


@dataclass(frozen=True)
class Verdict:
    """Both sides of a comparison, and whether it holds; for an audit's, what was ``found``."""

    left: float
    right: float
    held: bool
    found: str | None = None


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
        raise RunFailure("the cosine with a zero vector is not defined")
    if left.rank == right.rank == 1:
        return float(left.direction @ right.direction)
    return float(torch.linalg.svdvals(left.basis.T @ right.basis).max())


@evaluates(Norm)
def norm(of: SubspaceValue) -> float:
    return float(of.vectors.norm())


@evaluates(Abs)
def absolute(of: float) -> float:
    return abs(of)


@evaluates(Largest)
def largest(of: list[float]) -> float:
    return max(of)


@evaluates(Smallest)
def smallest(of: list[float]) -> float:
    return min(of)


@evaluates(Average)
def average(of: list[float]) -> float:
    return math.fsum(of) / len(of)


@evaluates(Slope)
def slope(of: list[float], over: list[float]) -> float:
    return _line(of, over)[0]


@evaluates(Intercept)
def intercept(of: list[float], over: list[float]) -> float:
    return _line(of, over)[1]


@evaluates(LineR2)
def line_r2(of: list[float], over: list[float]) -> float:
    rise, start = _line(of, over)
    mean = average(of)
    spread = math.fsum((y - mean) ** 2 for y in of)
    if spread == 0:
        raise RunFailure("a line through equal values has no R2")
    return (
        1 - math.fsum((y - start - rise * x) ** 2 for y, x in zip(of, over, strict=True)) / spread
    )


def _line(of: list[float], over: list[float]) -> tuple[float, float]:
    """Slope and intercept."""
    x, y = average(over), average(of)
    spread = math.fsum((one - x) ** 2 for one in over)
    if spread == 0:
        raise RunFailure("a line needs values at two places at least")
    rise = math.fsum((a - x) * (b - y) for a, b in zip(over, of, strict=True)) / spread
    return rise, y - rise * x


@evaluates(TableWord)
def table(here: Here[TableWord]) -> dict[str, float]:
    """The number of every cell, by arm and cell."""
    return {cell.role: float(here.value(cell.role)) for cell in here.operation.inputs}


@evaluates(Result)
def result(here: Here[Result], measure: dict[str, dict[str, Estimate]]) -> float:
    return measure[here.word.arm][here.word.metric].mean


@evaluates(Arithmetic)
def arithmetic(here: Here[Arithmetic], left: float, right: float) -> float:
    if here.word.operator == "/" and right == 0:
        raise RunFailure("division by zero in an expression of the program")
    return float(_ARITHMETIC[here.word.operator](left, right))


@evaluates(Compare)
def compare(here: Here[Compare], left: float, right: float) -> Verdict:
    if not (math.isfinite(left) and math.isfinite(right)):
        raise RunFailure(f"a claim compares {left:g} with {right:g}, which says nothing")
    return Verdict(left, right, bool(_COMPARE[here.word.operator](left, right)))
