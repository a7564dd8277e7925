"""`edge`: one sender's part of what a receiver reads."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.edges import EdgeValue
from causaldsl.model.edges import Edge
from causaldsl.vocabulary.circuits import EdgeWord


@makes(EdgeWord)
def edge(context: Context, word: EdgeWord, operands: Operands) -> EdgeValue:
    sender, receiver = operands["sender"], operands["receiver"]
    found = Edge(sender.value, receiver.value)
    found.check(context.shapes(sender.span))
    return EdgeValue(found)
