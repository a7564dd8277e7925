"""Claims that hold by what they say, whatever a run measures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from causaldsl.check.context import Context
from causaldsl.check.measurements import Measurement
from causaldsl.check.values import Applied
from causaldsl.syntax import ast
from causaldsl.vocabulary.numbers import (
    Abs,
    Arithmetic,
    Average,
    Compare,
    Cos,
    Largest,
    Result,
    Smallest,
)

_CLEAN = "clean"


class Range(NamedTuple):
    """What a number can be; with ``above`` it is not ``low`` itself."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False


@dataclass
class _Sum:
    """A number as a sum of numbers with their factors, and a constant.

    ``steps`` are left: what a program names may double with every name.
    """

    constant: float = 0.0
    terms: list[tuple[Applied, float]] = field(default_factory=list)
    steps: int = 1000

    def add(self, applied: Applied, factor: float) -> None:
        """Take in a number, by what it is made from as far as that is a sum."""
        self.steps -= 1
        word, number = applied.word, applied.number
        sides = [applied.operand(side) for side in ("left", "right")]
        left, right = (side if isinstance(side, Applied) else None for side in sides)
        if number is not None:
            self.constant += factor * number
        elif not isinstance(word, Arithmetic) or left is None or right is None or self.steps < 0:
            self._put(applied, factor)
        elif word.operator in "+-":
            self.add(left, factor)
            self.add(right, factor if word.operator == "+" else -factor)
        elif word.operator == "*" and left.number is not None:
            self.add(right, factor * left.number)
        elif word.operator == "*" and right.number is not None:
            self.add(left, factor * right.number)
        elif word.operator == "/" and right.number:
            self.add(left, factor / right.number)
        else:
            self._put(applied, factor)

    def _put(self, applied: Applied, factor: float) -> None:
        for i, (known, before) in enumerate(self.terms):
            if known.alike(applied):
                self.terms[i] = (known, before + factor)
                return
        self.terms.append((applied, factor))


class _Ranges:
    """What numbers can be by their definition, each worked out once."""

    def __init__(self, context: Context):
        self.context = context
        self._known: dict[int, Range] = {}

    def of_sum(self, found: _Sum) -> Range:
        low = high = found.constant
        above = False
        for applied, factor in found.terms:
            if factor == 0:
                continue
            of = self.of(applied)
            first, last = (of.low, of.high) if factor > 0 else (of.high, of.low)
            low, high = low + factor * first, high + factor * last
            above |= of.above and factor > 0
        return Range(low, high, above)

    def of(self, applied: Applied) -> Range:
        if id(applied) not in self._known:
            self._known[id(applied)] = self._found(applied)
        return self._known[id(applied)]

    def _found(self, applied: Applied) -> Range:
        word, of = applied.word, applied.operand("of")
        if applied.number is not None:
            return Range(applied.number, applied.number)
        if isinstance(word, Arithmetic):
            found = _Sum()
            found.add(applied, 1.0)
            alone = found.steps < 0 or any(one.alike(applied) for one, _ in found.terms)
            return Range() if alone else self.of_sum(found)
        if isinstance(word, Result):
            return self._of_result(applied, word)
        if isinstance(word, Cos):
            return Range(-1.0, 1.0)
        if isinstance(word, Abs) and isinstance(of, Applied):
            inner = self.of(of)
            return Range(0.0, max(abs(inner.low), abs(inner.high)))
        if isinstance(word, Largest | Smallest | Average) and isinstance(of, tuple):
            return _around(self.of(one) for one in of if isinstance(one, Applied))
        return Range()

    def _of_result(self, applied: Applied, word: Result) -> Range:
        """A rate is from 0 to 1; the clean run is right on pairs that were chosen for that."""
        metric = self.context.words.metrics.get(word.metric)
        measured = self.context.scope.values.get(str(applied.operand("measure")))
        if metric is None or not isinstance(measured, Measurement):
            return Range()
        if word.arm == _CLEAN:
            if metric.of_clean is not None:
                return Range(metric.of_clean, metric.of_clean)
            pairs = measured.pairs
            if pairs.where and word.metric == ("positive_rate" if pairs.foils else "accuracy"):
                return Range(1.0, 1.0)
            if pairs.where and pairs.foils and word.metric == "logit_diff":
                return Range(0.0, math.inf, above=True)
        return Range(0.0, 1.0) if metric.rate else Range()


def _around(ranges: Iterable[Range]) -> Range:
    lows, highs, _ = zip(*ranges, strict=True)
    return Range(min(lows), max(highs))


def warn_of_holding(context: Context, value: Applied, node: ast.Expression) -> None:
    """Warn of a comparison that holds whatever comes out."""
    word, left, right = value.word, value.operand("left"), value.operand("right")
    if not (isinstance(word, Compare) and isinstance(left, Applied) and isinstance(right, Applied)):
        return
    more, less = (left, right) if word.operator in (">", ">=") else (right, left)
    found = _Sum()
    found.add(more, 1.0)
    found.add(less, -1.0)
    if not found.terms and any(isinstance(part, ast.Name) for part in node.walk()):
        return  # of params, which may be set to something else
    if _holds(word.operator, _Ranges(context).of_sum(found)):
        kept = ": only pairs that the model gets right are kept"
        context.warn(
            "holds-anyway",
            "this holds by what it says, whatever is measured"
            + kept * any(_chosen(context, one) for one, factor in found.terms if factor),
            node.span,
            "claim what could turn out otherwise",
        )


def _holds(operator: str, difference: Range) -> bool:
    """Whether what is claimed to be more, less the other side, is so wherever it can be."""
    if operator in ("==", "!="):
        equal = difference.low == difference.high == 0
        apart = difference.low > 0 or difference.high < 0
        return equal if operator == "==" else apart
    if difference.low == 0:
        return difference.above or operator in (">=", "<=")
    return difference.low > 0


def _chosen(context: Context, applied: Applied) -> bool:
    """Whether it is of the clean run on pairs that it gets right."""
    measured = context.scope.values.get(str(applied.operand("measure")))
    clean = isinstance(applied.word, Result) and applied.word.arm == _CLEAN
    return clean and isinstance(measured, Measurement) and bool(measured.pairs.where)
