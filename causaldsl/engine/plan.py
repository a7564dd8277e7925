"""What each clean run must record, and where edits will start from it, read off the graph.

A clean run happens once; whatever is wanted of it later has to be asked for before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from causaldsl.engine.edits import Freeze
from causaldsl.engine.tracing.components import changed_at, components_of, streams_behind
from causaldsl.engine.virtual import edited, read_for, touched
from causaldsl.graph.compile import Graph
from causaldsl.graph.operations import (
    HopWord,
    MeasureWord,
    Operation,
    PatchedRunWord,
    SiteAt,
    TraceWord,
)
from causaldsl.model.sites import Site
from causaldsl.vocabulary.base import INTERVENTIONS, Word
from causaldsl.vocabulary.histograms import Projection
from causaldsl.vocabulary.metrics import METRICS
from causaldsl.vocabulary.probes import Probe


@dataclass
class Needs:
    """Of one clean run on one backend: sites to record, and sites that edits will change.

    Each is kept in the order in which the graph asks for it.
    """

    reads: dict[SiteAt, None] = field(default_factory=dict)
    edits: dict[SiteAt, None] = field(default_factory=dict)
    frozen: bool = False
    """Whether some run holds components at their values in this one."""


@dataclass
class Plan:
    """The needs of every (clean run, backend), the backend of every run, the logits it must give.

    ``vocabulary`` has the metrics that want a run's logits of the whole vocabulary.
    """

    needs: dict[tuple[str, str], Needs]
    backends: dict[str, str]
    vocabulary: dict[str, set[str]]
    parallel: bool = False
    """Whether the model's attention and MLP read the same stream."""

    def recorded_by(self, clean_run: str, at: SiteAt) -> str:
        """A backend on which this clean run records this site."""
        return next(
            backend
            for (key, backend), needs in self.needs.items()
            if key == clean_run and all(place in needs.reads for place in read_for(at))
        )


def make_plan(
    graph: Graph, backend_of: Callable[[list[Site]], str], parallel: bool = False
) -> Plan:
    """Read the needs of all operations off the graph."""
    plan = Plan(defaultdict(Needs), {}, {}, parallel)
    for key in graph.order():
        operation = graph.operation(key)
        if isinstance(operation.word, PatchedRunWord | HopWord):
            _plan_run(plan, graph, key, operation, backend_of)
        elif isinstance(operation.word, TraceWord):
            _plan_trace(plan, graph, key, operation, backend_of)
        elif isinstance(operation.word, Projection):
            _plan_projection(plan, graph, key, operation, backend_of)
        elif isinstance(operation.word, Probe):
            _plan_probe(plan, key, operation, backend_of)
        elif operation.at is not None and operation.given("base") and not _takes_values(operation):
            _plan_learned(plan, key, operation, backend_of)
        elif isinstance(operation.word, MeasureWord):
            wanted = {m for m in operation.word.metrics if METRICS[m].needs == "vocabulary"}
            for given in operation.inputs if wanted else ():
                plan.vocabulary.setdefault(given.key, set()).update(wanted)
    default = backend_of([])
    for key in graph.order():
        if graph.operation(key).word.word == "clean_run":
            plan.backends[key] = default
            plan.needs[key, default]
    return plan


def _plan_run(
    plan: Plan,
    graph: Graph,
    key: str,
    operation: Operation,
    backend_of: Callable[[list[Site]], str],
) -> None:
    """A run with changes in force; a hop also sees what its receivers read."""
    changes = [graph.operation(k) for k in operation.all_given("do")]
    places = [place for change in changes for place in changed_places(change)]
    places += operation.to
    name = plan.backends[key] = backend_of([s for place in places for s in touched(place.site)])
    base = operation.given("base")
    assert base is not None
    needs = plan.needs[base, name]
    needs.edits |= dict.fromkeys(edited(place) for place in places)
    needs.frozen |= freeze_of(operation.word) is not None
    for change in changes:
        if isinstance(change.word, HopWord):
            continue
        for side in ("base", "source"):
            taken = change.given(side)
            if taken is not None:
                plan.needs[taken, name].reads |= dict.fromkeys(read_for(change.at_site))


def _plan_trace(
    plan: Plan,
    graph: Graph,
    key: str,
    operation: Operation,
    backend_of: Callable[[list[Site]], str],
) -> None:
    """Components are recorded clean on the bases; of the sources, only what is changed."""
    _plan_run(plan, graph, key, operation, backend_of)
    assert isinstance(operation.word, TraceWord)
    changed = [*changed_at(graph, operation), *streams_behind(graph, operation, plan.parallel)]
    traced = [component.at for component in components_of(operation.word)]
    name = plan.backends[key] = backend_of([place.site for place in [*changed, *traced]])
    base, source = operation.given("base"), operation.given("source")
    assert base is not None
    assert source is not None
    plan.needs[source, name].reads |= dict.fromkeys(changed)
    needs = plan.needs[base, name]
    needs.reads |= dict.fromkeys(traced)
    needs.edits |= dict.fromkeys([*changed, *traced])
    needs.frozen = True


def changed_places(change: Operation) -> tuple[SiteAt, ...]:
    """Where an intervention, or a hop of a path, changes the run."""
    return change.to if isinstance(change.word, HopWord) else (change.at_site,)


def freeze_of(word: Word) -> Freeze | None:
    """What a run with this policy holds; None if nothing."""
    if not isinstance(word, PatchedRunWord | HopWord):
        return None
    if word.freeze == "none" and word.layernorm == "recompute":
        return None
    return Freeze(
        attention=word.freeze in ("attention", "all"),
        mlp=word.freeze in ("mlp", "all"),
        norms=word.layernorm == "frozen",
    )


def _plan_projection(
    plan: Plan,
    graph: Graph,
    key: str,
    operation: Operation,
    backend_of: Callable[[list[Site]], str],
) -> None:
    """A site that is read in a clean run, or in a run with interventions in force."""
    at, run_key = operation.at_site, operation.given("run")
    assert run_key is not None
    run = graph.operation(run_key)
    changes = [graph.operation(k) for k in run.all_given("do")]
    places = [place for change in changes for place in changed_places(change)]
    name = plan.backends[key] = backend_of([s for p in [at, *places] for s in touched(p.site)])
    if not places:
        plan.needs[run_key, name].reads |= dict.fromkeys(read_for(at))
        return
    base = run.given("base")
    assert base is not None
    for place in [*places, at]:
        plan.needs[base, name].edits[edited(place)] = None


def _plan_probe(
    plan: Plan, key: str, operation: Operation, backend_of: Callable[[list[Site]], str]
) -> None:
    """Two sites of the bases; for a step at the second, the first is read again after it."""
    places = [operation.at_site, *operation.to]
    base = operation.given("base")
    assert base is not None
    name = plan.backends[key] = backend_of([s for p in places for s in touched(p.site)])
    for place in places:
        plan.needs[base, name].reads |= dict.fromkeys(read_for(place))
        if operation.word.edits:
            plan.needs[base, name].edits[place] = None


def _takes_values(operation: Operation) -> bool:
    """Whether this is an intervention, whose run plans for it."""
    return type(operation.word) in INTERVENTIONS.values()


def _plan_learned(
    plan: Plan, key: str, operation: Operation, backend_of: Callable[[list[Site]], str]
) -> None:
    """A subspace made from activations. DAS and gradients also edit the bases."""
    assert operation.at is not None
    name = plan.backends[key] = backend_of(touched(operation.at.site))
    for side in ("base", "source"):
        run = operation.given(side)
        if run is not None:
            plan.needs[run, name].reads |= dict.fromkeys(read_for(operation.at))
    if operation.word.edits:
        base = operation.given("base")
        assert base is not None
        plan.needs[base, name].edits[edited(operation.at)] = None
