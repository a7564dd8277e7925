"""Attributions: estimates of what patching would do, and the numbers that say how good they are."""

from __future__ import annotations

from typing import Literal, TypeAlias

from causaldsl.vocabulary.base import SIDES, Operand, Pure, Word
from causaldsl.vocabulary.types import NumberType

Integrated: TypeAlias = Literal["inputs", "activations"]
INTEGRATED: dict[Integrated, str] = {
    "inputs": "the token embeddings go from those of the base to those of the source",
    "activations": "sites of one kind in one layer do, and what is before them stays the base's",
}
"""What is moved from base to source where an attribution has several steps."""
ATTRIBUTED = ("logit_diff", "prob", "prob_diff", "loss")
"""Metrics that have a gradient in every pair."""
STEPS = 200
"""The most steps."""
NUMBERS = {
    "rank_correlation": "Spearman's, of estimates and exact effects of the sample that are not 0",
}
"""The numbers of an attribution that are measured, and so can be claimed."""


class AttributionWord(Word):
    """First-order estimates of the change of a metric when sites are patched from the source.

    The sites are the operation's places. ``neurons``: each coordinate of `mlp_hidden` on its own.
    With ``senders``, edges are patched: so many of the places send, and the others receive.
    """

    word = "attribution"
    runs = "gradients"
    sides = SIDES
    metric: str
    steps: int = 1
    integrate: Integrated = "inputs"
    neurons: bool = False
    senders: int = 0
    drawn: tuple[int, ...] = ()
    """Which of all that have an estimate are measured exactly, in the order of the runs."""


class AttributionNumber(Pure):
    """A number of an attribution that rests on exact effects: one of `NUMBERS`."""

    word = "attribution_number"
    gives = NumberType()
    operands = (Operand("attribution", "attribution"),)
    name: str

    @property
    def estimated(self) -> bool:
        return True
