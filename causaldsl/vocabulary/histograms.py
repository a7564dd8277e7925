"""Words behind the statement `histogram`: projections by class, and numbers read off them."""

from __future__ import annotations

from typing import Literal

from causaldsl.vocabulary.base import Operand, Pure, Word
from causaldsl.vocabulary.types import NumberType

CLASS_STATISTICS = ("mean", "sd", "n")
"""Numbers of one class in one arm."""
SEPARATIONS = ("auc", "d")
"""Numbers that say how far two classes in one arm are apart."""


class Projection(Word):
    """Activations of a run at a site, as coordinates along a direction of length 1."""

    word = "projection"
    runs = "edits"
    sides = ("base",)
    operands = (Operand("along", "subspace", keyword=True),)


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
    gives = NumberType()
    operands = (Operand("histogram", "number"),)
    arm: str
    statistic: str
    cls: str

    @property
    def estimated(self) -> bool:
        return self.statistic != "n"
