"""Circuits: the words that make edges and sets, and the verbs that run a model on a set alone."""

from __future__ import annotations

from causaldsl.vocabulary.base import Maker, Operand
from causaldsl.vocabulary.register import maker
from causaldsl.vocabulary.types import EdgeType


@maker
class EdgeWord(Maker):
    """One edge: what a component writes, as far as another one reads it.

    It starts at `embed`, a head's z or an MLP's output, and ends at a head's query, key or value,
    at what an MLP reads or at the logits; it is there at every position.
    """

    word = "edge"
    gives = EdgeType()
    operands = (Operand("sender", "end"), Operand("receiver", "end"))
    example = "edge(head[9.1].z, head[11.2].q)"
