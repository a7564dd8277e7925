"""Numbers about what heads attend to."""

from __future__ import annotations

from causaldsl.vocabulary.base import Operand, Word
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import NumberType


@function
class Attention(Word):
    """The share of a head's attention that goes to some tokens: its mean over the bases.

    `attention(head[7.3] @ END, to: IO, on: flip.test)`; of several tokens, and of several queries,
    the shares of all tokens together, averaged over queries.
    """

    word = "attention"
    example = "attention(head[1.0] @ END, to: S2, on: flip.test)"
    quantity = "share of attention"
    runs = "reads"
    sides = ("base",)
    gives = NumberType()
    operands = (
        Operand("site", "attention"),
        Operand("to", "tokens", keyword=True),
        Operand("on", "pairs", keyword=True),
    )
    computed = ("to",)
    to: tuple[str, ...] = ()

    @property
    def estimated(self) -> bool:
        return True
