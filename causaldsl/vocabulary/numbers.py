"""Words that give a number, and the arithmetic and comparisons of `let` and `expect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from causaldsl.vocabulary.base import NumberType, Operand, OperandMistake, Pure, TruthType, function


@function
class Cos(Pure):
    """Cosine between two directions; between subspaces, of the smallest principal angle."""

    word = "cos"
    operands = (Operand("left", "subspace"), Operand("right", "subspace"))

    def result(self, types: Mapping[str, Any]) -> NumberType:
        left, right = types["left"].width, types["right"].width
        if left != right:
            raise OperandMistake(
                "right",
                "width-mismatch",
                f"this subspace has {right} dimensions, the other one {left}",
                "`u * W` carries u through a matrix",
            )
        return NumberType()


@function
class Norm(Pure):
    """Euclidean length of a direction (of several: the root of the summed squares)."""

    word = "norm"
    operands = (Operand("of", "subspace"),)

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()


@function
class Abs(Pure):
    """Absolute value."""

    word = "abs"
    operands = (Operand("of", "number"),)

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()


@function
class Largest(Pure):
    """The largest value of a metric over all cells of a sweep: max(sweep.metric)."""

    word = "max"
    operands = (Operand("of", "numbers"),)

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()


@function
class Smallest(Pure):
    """The smallest value of a metric over all cells of a sweep: min(sweep.metric)."""

    word = "min"
    operands = (Operand("of", "numbers"),)

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()


@function
class Average(Pure):
    """The mean over all cells of a table or sweep: mean(table.arm), mean(sweep.metric)."""

    word = "mean"
    operands = (Operand("of", "numbers"),)

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()


class Constant(Pure):
    """A number written in the program."""

    word = "constant"
    value: float

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType(self.value)


class Result(Pure):
    """A measured number: the mean of a metric over the pairs, for one arm."""

    word = "result"
    operands = (Operand("measure", "number"),)
    arm: str
    metric: str

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()

    @property
    def measured(self) -> str:
        return self.metric

    @property
    def estimated(self) -> bool:
        return True


class Arithmetic(Pure):
    """`+`, `-`, `*`, `/` on numbers."""

    word = "arithmetic"
    operands = (Operand("left", "number"), Operand("right", "number"))
    operator: Literal["+", "-", "*", "/"]

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()


Over = Literal["pairs", "templates"]
"""Whether a claim is about new pairs from the same templates, or from other templates too."""
FEWEST_TEMPLATES = 5
"""Over fewer templates nothing is claimed: the intervals would not cover (docs/claims.md)."""


class Claimed(Pure):
    """A claim on numbers: at which level it is decided, and over what its interval is."""

    level: float = 0.95
    over: Over = "pairs"

    def identity(self) -> dict[str, Any]:
        """Without what is as it always is."""
        usual = {name: field.default for name, field in Claimed.model_fields.items()}
        found = super().identity()
        return {n: v for n, v in found.items() if n not in usual or v != usual[n]}

    def result(self, types: Mapping[str, Any]) -> TruthType:
        return TruthType()


class Compare(Claimed):
    """A comparison of two numbers: what `expect` claims."""

    word = "compare"
    operands = (Operand("left", "number"), Operand("right", "number"))
    operator: Literal["<", ">", "<=", ">=", "==", "!="]


class ArgmaxIs(Claimed):
    """`argmax(sweep.metric) is CELL`: the cell's number is larger than every other."""

    word = "argmax_is"
    operands = (Operand("cell", "number"), Operand("others", "numbers"))
