"""Numbers: cosines, norms, arithmetic, and the claims of `expect`."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import torch

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.weights.matrices import matrix
from causaldsl.graph.operations import Operation, TableWord
from causaldsl.vocabulary.matrices import Matrix
from causaldsl.vocabulary.numbers import (
    Abs,
    Arithmetic,
    Average,
    Compare,
    Constant,
    Cos,
    Largest,
    Norm,
    Result,
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
    """Both sides of a comparison, and whether it holds; of an audit's, what was ``found``."""

    left: float
    right: float
    held: bool
    found: str | None = None


@evaluates(Constant)
def constant(session: Session, operation: Operation) -> float:
    assert isinstance(operation.word, Constant)
    return operation.word.value


@evaluates(Matrix)
def model_matrix(session: Session, operation: Operation) -> torch.Tensor:
    word = operation.word
    assert isinstance(word, Matrix)
    return matrix(session.loaded, word.name, word.layer, word.head).cpu()


@evaluates(Cos)
def cos(session: Session, operation: Operation) -> float:
    left: SubspaceValue = session.value(operation.given("left"))
    right: SubspaceValue = session.value(operation.given("right"))
    if left.rank == 0 or right.rank == 0:
        raise RunFailure("the cosine with a zero vector is not defined")
    if left.rank == right.rank == 1:
        return float(left.direction @ right.direction)
    return float(torch.linalg.svdvals(left.basis.T @ right.basis).max())


@evaluates(Norm)
def norm(session: Session, operation: Operation) -> float:
    value: SubspaceValue = session.value(operation.given("of"))
    return float(value.vectors.norm())


@evaluates(Abs)
def absolute(session: Session, operation: Operation) -> float:
    return abs(session.value(operation.given("of")))


@evaluates(Largest)
def largest(session: Session, operation: Operation) -> float:
    return max(session.value(key) for key in operation.all_given("of"))


@evaluates(Smallest)
def smallest(session: Session, operation: Operation) -> float:
    return min(session.value(key) for key in operation.all_given("of"))


@evaluates(Average)
def average(session: Session, operation: Operation) -> float:
    values = [session.value(key) for key in operation.all_given("of")]
    return math.fsum(values) / len(values)


@evaluates(TableWord)
def table(session: Session, operation: Operation) -> dict[str, float]:
    """The number of every cell, by arm and cell."""
    return {given.role: float(session.value(given.key)) for given in operation.inputs}


@evaluates(Result)
def result(session: Session, operation: Operation) -> float:
    word = operation.word
    assert isinstance(word, Result)
    return float(session.value(operation.given("measure"))[word.arm][word.metric].mean)


@evaluates(Arithmetic)
def arithmetic(session: Session, operation: Operation) -> float:
    word = operation.word
    assert isinstance(word, Arithmetic)
    left, right = (session.value(operation.given(side)) for side in ("left", "right"))
    if word.operator == "/" and right == 0:
        raise RunFailure("division by zero in an expression of the program")
    return float(_ARITHMETIC[word.operator](left, right))


@evaluates(Compare)
def compare(session: Session, operation: Operation) -> Verdict:
    word = operation.word
    assert isinstance(word, Compare)
    left, right = (session.value(operation.given(side)) for side in ("left", "right"))
    if not (math.isfinite(left) and math.isfinite(right)):
        raise RunFailure(f"a claim compares {left:g} with {right:g}, which says nothing")
    return Verdict(left, right, bool(_COMPARE[word.operator](left, right)))
