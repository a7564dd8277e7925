"""The plan of a program: what is kept of each clean run, what goes in one pass, in what order."""

from __future__ import annotations

from dataclasses import dataclass

from causaldsl.graph.compile import Graph
from causaldsl.graph.operations import SiteAt
from causaldsl.model.shapes import Shapes
from causaldsl.plan.needs import BackendOf, Needs, read_needs
from causaldsl.plan.sharing import Members, pass_order, shared_passes
from causaldsl.plan.virtual import read_for


@dataclass(frozen=True)
class Plan:
    """How the operations of a graph are made.

    ``needs`` are those of every (clean run, backend), ``backends`` the backend of every run,
    ``vocabulary``, by run, the metrics that want its logits of the whole vocabulary. ``shared``
    gives, of an operation that can go through the model with others, all that go with it, itself
    included, in the graph's order. ``order`` has every operation once, those of one pass together.
    """

    needs: dict[tuple[str, str], Needs]
    backends: dict[str, str]
    vocabulary: dict[str, set[str]]
    shared: dict[str, Members]
    order: tuple[Members, ...]

    def recorded_by(self, clean_run: str, at: SiteAt) -> str:
        """A backend on which this clean run records this site."""
        return next(
            backend
            for (key, backend), needs in self.needs.items()
            if key == clean_run and all(place in needs.reads for place in read_for(at))
        )


def make_plan(graph: Graph, backend_of: BackendOf, shapes: Shapes) -> Plan:
    """The plan of a graph. ``backend_of`` names the backend that serves all of some sites."""
    order = graph.order()
    asked = read_needs(graph, order, backend_of, shapes.parallel)
    shared = shared_passes(graph, order, asked.backends, shapes)
    passes = tuple(pass_order(graph, order, shared))
    return Plan(asked.needs, asked.backends, asked.vocabulary, shared, passes)
