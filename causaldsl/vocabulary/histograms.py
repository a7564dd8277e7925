"""Words behind the statement `histogram`: projections by class, and numbers read off them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from causaldsl.vocabulary.base import NumberType, Operand, Pure, Word

CLASS_STATISTICS = ("mean", "sd", "n")
"""Of one class in one arm."""
SEPARATIONS = ("auc", "d")
"""Of two classes in one arm."""


class Projection(Word):
    """Activations of a run at a site, as coordinates along a direction of length 1."""

    word = "projection"
    runs = "edits"
    sides = ("base",)


class HistogramWord(Pure):
    """Projections of every arm, counted by class in the same bins.

    ``by`` says what the classes are: the bases', base against source, or the pair sets.
    """

    word = "histogram"
    by: Literal["class", "side", "set"]
    classes: tuple[str, ...]
    bins: int = 30


class HistogramNumber(Pure):
    """One number of a histogram: of an arm, and of one class unless it compares two."""

    word = "histogram_number"
    operands = (Operand("histogram", "number"),)
    arm: str
    statistic: str
    cls: str

    def result(self, types: Mapping[str, Any]) -> NumberType:
        return NumberType()

    @property
    def estimated(self) -> bool:
        return self.statistic != "n"
