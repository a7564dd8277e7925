"""The components that a trace looks at, and which of them can send to which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from causaldsl.check.places import Point, PositionRef
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation, SiteAt, TraceWord
from causaldsl.model.sites import Site
from causaldsl.plan.virtual import edited


@dataclass(frozen=True, order=True)
class Component:
    """A head's output z, or an MLP's output (head -1), at a position; ``column`` is its rank."""

    layer: int
    head: int
    column: int
    position: str

    @property
    def name(self) -> str:
        """As the program calls it, wherever it is: `head 23.5`, `mlp 21`."""
        return f"mlp {self.layer}" if self.head < 0 else f"head {self.layer}.{self.head}"

    @property
    def id(self) -> str:
        what = f"mlp{self.layer}" if self.head < 0 else f"{self.layer}.{self.head}"
        return f"{what}@{self.position}"

    @property
    def depth(self) -> int:
        """The order of the forward pass; heads of one layer read the same stream."""
        return 2 * self.layer + (self.head < 0)

    @property
    def site(self) -> Site:
        if self.head < 0:
            return Site("mlp_out", self.layer)
        return Site("head.z", self.layer, self.head)

    @property
    def at(self) -> SiteAt:
        return SiteAt(site=self.site, position=PositionRef(Point.parse(self.position)))

    def reads(self, other: Component, parallel: bool) -> bool:
        """Whether the other one's output can reach this one's input with nothing in between.

        ``parallel``: the model's MLPs read what its heads read, and not what those write.
        """
        if other.depth >= self.depth or (parallel and other.layer == self.layer):
            return False
        # A head reads keys and values to its left; an MLP reads its own position only.
        return other.column == self.column or (self.head >= 0 and other.column < self.column)


def components_of(word: TraceWord) -> list[Component]:
    """Every component of a trace at each of its positions, in the order of the forward pass."""

    def found() -> Iterator[Component]:
        for column, position in enumerate(word.positions):
            for layer, head in word.heads:
                yield Component(layer, head, column, position)
            for layer in word.mlps:
                yield Component(layer, -1, column, position)

    return sorted(found(), key=lambda c: (c.depth, c.head, c.column))


def changed_at(graph: Graph, operation: Operation) -> list[SiteAt]:
    """Where the interventions of a trace act."""
    return [edited(graph.operation(key).at_site) for key in operation.inputs_as("do")]


def streams_behind(graph: Graph, operation: Operation, parallel: bool) -> list[SiteAt]:
    """The residual stream right behind each intervention, at its positions.

    ``parallel``: the model's MLPs read the same stream as its heads, so there is none in between.
    """
    found = {
        at.model_copy(update={"site": _stream_behind(at.site, parallel)}): None
        for at in changed_at(graph, operation)
    }
    return list(found)


def _stream_behind(site: Site, parallel: bool) -> Site:
    if site.word.part == "stream":  # or a raw hook, which no trace can follow
        return site
    return site.of_layer("resid_post" if site.word.part == "mlp" or parallel else "resid_mid")
