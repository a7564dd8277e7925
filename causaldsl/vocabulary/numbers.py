"""Words that give a number, and the arithmetic and comparisons of `let` and `expect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from causaldsl.vocabulary.base import Operand, OperandMistake, Pure
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import NumberType, TruthType


@function
class Cos(Pure):
    """Cosine between two directions; between subspaces, of the smallest principal angle."""

    word = "cos"
    quantity = "cosine"
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
    quantity = "length"
    gives = NumberType()
    operands = (Operand("of", "subspace"),)


@function
class Abs(Pure):
    """Absolute value."""

    word = "abs"
    gives = NumberType()
    operands = (Operand("of", "number"),)


@function
class Largest(Pure):
    """The largest value of a metric over all cells of a sweep: max(sweep.metric)."""

    word = "max"
    gives = NumberType()
    operands = (Operand("of", "numbers"),)


@function
class Smallest(Pure):
    """The smallest value of a metric over all cells of a sweep: min(sweep.metric)."""

    word = "min"
    gives = NumberType()
    operands = (Operand("of", "numbers"),)


@function
class Average(Pure):
    """The mean over all cells of a table or sweep: mean(table.arm), mean(sweep.metric)."""

    word = "mean"
    otherwise = "for a direction write mean_difference(SITE, CLASS, on: PAIRS)"
    gives = NumberType()
    operands = (Operand("of", "numbers"),)


class Line(Pure):
    """The straight line that fits values best (least squares), over other values of as many cells.

    Of a sweep or table, in the order of its cells.
    """

    operands = (Operand("of", "numbers"), Operand("over", "numbers", keyword=True))

    def result(self, types: Mapping[str, Any]) -> NumberType:
        of, over = (len(types[name]) for name in ("of", "over"))
        if of != over:
            raise OperandMistake(
                "over",
                "unequal-length",
                f"these are {over} cells, for {of} values",
                "put both into one table: table t { for k in {..}: x = k  y = s[k].fldd }",
            )
        return NumberType()


@function
class Slope(Line):
    """By how much values rise for each unit of others: slope(t.y, over: t.x), least squares."""

    word = "slope"


@function
class Intercept(Line):
    """Where the line of `slope` stands at 0."""

    word = "intercept"


@function
class LineR2(Line):
    """R2 of the line of `slope`: 1 if all values lie on it, 0 if their mean fits as well."""

    word = "line_r2"


class Constant(Pure):
    """A number written in the program."""

    word = "constant"
    value: float

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType(self.value)


class Result(Pure):
    """A measured number: the mean of a metric over the pairs, for one arm."""

    word = "result"
    gives = NumberType()
    operands = (Operand("measure", "number"),)
    arm: str
    metric: str

    @property
    def measured(self) -> str:
        return self.metric

    @property
    def estimated(self) -> bool:
        return True


class Arithmetic(Pure):
    """`+`, `-`, `*`, `/` on numbers."""

    word = "arithmetic"
    gives = NumberType()
    operands = (Operand("left", "number"), Operand("right", "number"))
    operator: Literal["+", "-", "*", "/"]


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
    gives = TruthType()
    operands = (Operand("left", "number"), Operand("right", "number"))
    operator: Literal["<", ">", "<=", ">=", "==", "!="]


class ArgmaxIs(Claimed):
    """`argmax(sweep.metric) is CELL`: the cell's number is larger than every other."""

    word = "argmax_is"
    operands = (Operand("cell", "number"), Operand("others", "numbers"))
