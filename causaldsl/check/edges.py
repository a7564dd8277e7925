"""Edges as a program writes them: `edge(head[9.1].z, head[11.2].q)`."""

from __future__ import annotations

from dataclasses import dataclass, field

from causaldsl.check.kinds import Value
from causaldsl.diagnostics import Span
from causaldsl.model.edges import Edge
from causaldsl.model.sites import Site


@dataclass(frozen=True)
class EdgeValue(Value):
    """An edge of the model, a member of sets of edges."""

    kind = "an edge"
    edge: Edge
    span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return str(self.edge)

    @property
    def sender(self) -> Site:
        return self.edge.sender

    @property
    def receiver(self) -> Site:
        return self.edge.receiver
