"""The plan of a program: what is kept of each clean run, what goes in one pass, in what order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import SiteAt
from causaldsl.model.shapes import ModelDims
from causaldsl.plan import attributed as attributed  # these register what operations ask
from causaldsl.plan import generation as generation
from causaldsl.plan import rules as rules
from causaldsl.plan.entries import expected_backend
from causaldsl.plan.needs import BackendOf, Key, Needs, needs_of
from causaldsl.plan.request import ANSWERS, Asked, asked_by
from causaldsl.plan.sharing import Members, pass_order, shared_passes
from causaldsl.plan.virtual import read_for


@dataclass(frozen=True)
class Plan:
    """How the operations of a graph are made.

    ``asked`` says what every operation asks of the model, ``needs`` what every (clean run, backend)
    is needed for, ``backends`` the backend of every operation that goes through the model.
    ``outcomes`` has the runs whose logits are used, with the metrics that want the whole
    vocabulary. ``shared`` gives, of an operation that can go through the model with others, all
    that go with it, itself included, in the graph's order. ``order`` has every operation once,
    those of one pass together.
    """

    asked: Mapping[str, Asked]
    needs: Mapping[Key, Needs]
    backends: Mapping[str, str]
    outcomes: Mapping[str, frozenset[str]]
    shared: Mapping[str, Members]
    order: tuple[Members, ...]

    def recorded_by(self, clean_run: str, at: SiteAt) -> str:
        """A backend on which this clean run records this site."""
        return next(
            backend
            for (key, backend), needs in self.needs.items()
            if key == clean_run and all(place in needs.reads for place in read_for(at))
        )

    def columns(self, run: str) -> int | None:
        """How many logits of each prompt a run's metrics want; None for the whole vocabulary."""
        return None if self.outcomes.get(run) else ANSWERS


def plan_ahead(graph: Graph, shapes: ModelDims, backend: str) -> Plan:
    """The plan that a run on this backend will have, as far as that is known without weights."""
    return make_plan(graph, expected_backend(shapes, backend, graph.longest_prompt), shapes)


def make_plan(graph: Graph, backend_of: BackendOf, shapes: ModelDims) -> Plan:
    """The plan of a graph. ``backend_of`` names the backend that serves all of some sites."""
    order = graph.order()
    asked = {key: asked_by(graph, graph.operation(key), shapes) for key in order}
    outcomes: dict[str, frozenset[str]] = {}
    for key in reversed(order):  # what uses a run's outcome comes after the run
        if asked[key].for_outcome and key not in outcomes:
            asked[key] = Asked()
        for run, metrics in asked[key].outcomes.items():
            outcomes[run] = outcomes.get(run, frozenset()) | metrics
    passing = {key: one for key, one in asked.items() if one.sites or (one.writes and one.mark)}
    backends = {key: backend_of(one.sites) for key, one in passing.items()}
    needs = needs_of(asked, backends)
    for key in outcomes.keys() & asked.keys():
        if key not in backends:  # a clean run
            backends[key] = backend_of(())
            needs.setdefault((key, backends[key]), Needs()).logits = True
    for (run, _), of_run in needs.items():
        of_run.vocabulary = of_run.logits and bool(outcomes.get(run))
    shared = shared_passes(graph, order, asked, backends)
    passes = tuple(pass_order(graph, order, shared))
    return Plan(asked, needs, backends, outcomes, shared, passes)
