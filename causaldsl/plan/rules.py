"""What the operations that the graph itself is made of ask of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import comb

from causaldsl.check.pairs import PromptSet
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import (
    ARM,
    HopWord,
    MeasureWord,
    Operation,
    PairsWord,
    PatchedRunWord,
    SiteAt,
    TraceWord,
)
from causaldsl.model.edges import Wiring
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.circuits import wired_places
from causaldsl.plan.components import Component, changed_at, components_of, streams_behind
from causaldsl.plan.freeze import Freeze, freeze_of
from causaldsl.plan.request import Asked, Request, plans, recorded, sites_of
from causaldsl.plan.virtual import edited
from causaldsl.vocabulary.audits import Illusion
from causaldsl.vocabulary.base import SIDES
from causaldsl.vocabulary.histograms import Projection
from causaldsl.vocabulary.seen import MeanSeen, Seen, SeenElsewhere


@plans(PatchedRunWord, HopWord)
def run(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """A run with changes in force; a hop ends with what its receivers read."""
    base = operation.input("base")
    changed = places_changed_in(graph, operation)
    edits = tuple(edited(place) for place in changed)
    hold = freeze_of(operation.word)
    if hold is not None:
        hold = hold.freeing([place.site for place in edits], shapes)
    wiring = getattr(operation.word, "edges", "")
    if wiring:  # what receivers read is worked out beside the pass, as much as attention's inputs
        changed += wired_places(Wiring.parse(wiring), shapes)
        edits = tuple(dict.fromkeys([*edits, *changed]))
    return Asked(
        records=values_taken(graph, operation),
        requests=(Request(base, edits, operation.to, hold),),
        sites=sites_of([*changed, *operation.to]),
        # An effect is told from the clean logits.
        outcomes={} if operation.to else {base: frozenset()},
        for_outcome=not operation.to,
        mark=(base, hold, operation.to, bool(wiring)),
    )


@plans(Seen)
def seen(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """As a projection; what is read of one changed run is read in one pass."""
    asked, run = projection(graph, operation, shapes), operation.input("run")
    if not asked.requests:
        return asked
    requests = tuple(replace(request, shared=("seen", run)) for request in asked.requests)
    return replace(asked, requests=requests, mark=run)


@plans(Projection, MeanSeen, SeenElsewhere)
def projection(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """A site that is read in a clean run, or in a run with interventions in force."""
    at, key = operation.at_site, operation.input("run")
    changed = places_changed_in(graph, graph.operation(key))
    if not changed:
        return Asked(records=recorded([key], [at]), sites=sites_of([at]))
    base = graph.operation(key).input("base")
    edits = tuple(edited(place) for place in changed)
    return Asked(
        records=values_taken(graph, graph.operation(key)),
        requests=(Request(base, edits, (at,)),),
        sites=sites_of([at, *changed]),
        values=tuple(taken.key for taken in graph.operation(key).inputs),
    )


@plans(TraceWord)
def trace(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """Total effect, what it does to every component and by nature, every mediated effect, edges.

    Components are recorded clean on the bases; on the sources, only what is changed.
    """
    word = operation.word
    assert isinstance(word, TraceWord)
    base, source = (operation.input(side) for side in SIDES)
    on = changed_at(graph, operation)
    stream = streams_behind(graph, operation, shapes.parallel)
    components = components_of(word)
    traced = tuple(component.at for component in components)

    def one(*edits: SiteAt) -> Request:
        return Request(base, edits)

    held = [[component.at] for component in components]
    held += [places for places in _by_name(components) if len(places) > 1]
    requests = [one(*on)]
    requests += [Request(base, tuple(places), traced) for places in (on, stream)]
    requests += [one(*on, *places) for places in held]
    heard, measured = most_edges(min(word.top, len(components)))
    read_alone = Freeze(attention=True, mlp=True)
    requests += [
        Request(base, (*on, *traced), traced, read_alone, times=heard, most=True),
        Request(base, (*on, *traced), (), read_alone, times=measured, most=True),
    ]
    note = f"; edges among the top {word.top}, which it finds, come on top of this"
    return Asked(
        records=(
            *values_taken(graph, operation),
            *recorded([source], dict.fromkeys([*on, *stream])),
            *recorded([base], traced),
        ),
        requests=tuple(requests),
        sites=sites_of([*places_changed_in(graph, operation), *on, *stream, *traced]),
        outcomes={base: frozenset()},
        note=note,
    )


@plans(PairsWord)
def pairs(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """Nothing, unless the model writes the prompts."""
    found = graph.pairs[operation.key]
    return Asked(writes=found.sample if isinstance(found, PromptSet) else None)


@plans(MeasureWord)
def measure(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    word = operation.word
    assert isinstance(word, MeasureWord)
    metrics = graph.vocabulary.metrics
    wanted = frozenset(m for m in word.metrics if metrics[m].needs == "vocabulary")
    if word.metrics and graph.pairs_of(operation.input("clean")).original is not None:
        wanted = frozenset(["loss"])  # each token's, of which all else is made
    # Of the sources only the logits of answer and foil are used.
    outcomes = {given.key: frozenset[str]() for given in operation.inputs}
    return Asked(outcomes=outcomes | {given.key: wanted for given in operation.arms})


@plans(Illusion)
def illusion(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """Activations at the site, and the outcome of every run of its evidence."""
    at = [operation.at_site]
    arms = {given.key: frozenset[str]() for given in operation.inputs if given.role.startswith(ARM)}
    sides = [operation.input(side) for side in SIDES]
    return Asked(records=recorded(sides, at), sites=sites_of(at), outcomes=arms)


def changed_places(change: Operation) -> tuple[SiteAt, ...]:
    """Where an intervention, or a hop of a path, changes the run."""
    return change.to or (change.at_site,)


def places_changed_in(graph: Graph, run: Operation) -> list[SiteAt]:
    """Where all that a run or hop does changes it."""
    changes = [graph.operation(key) for key in run.inputs_as("do")]
    return [place for change in changes for place in changed_places(change)]


def values_taken(graph: Graph, run: Operation) -> tuple[tuple[str, SiteAt], ...]:
    """What clean runs record for the interventions of a run; a hop's values are its own."""
    changes = [graph.operation(key) for key in run.inputs_as("do")]
    return tuple(
        taken
        for change in changes
        if change.word.changes
        for side in SIDES
        if (clean := change.find(side)) is not None
        for taken in recorded([clean], [change.at_site])
    )


def most_edges(top: int) -> tuple[int, int]:
    """The most runs that edges among ``top`` components can take: recorded, and measured.

    Every sender that is before a receiver is heard once under the intervention and once by nature;
    the share that is explained hears each component once more.
    """
    inner = comb(top, 2) + top
    return 2 * inner + top, 2 * inner + 2 * (top + 1) + 1


def _by_name(components: Iterable[Component]) -> Sequence[list[SiteAt]]:
    places: dict[str, list[SiteAt]] = {}
    for component in components:
        places.setdefault(component.name, []).append(component.at)
    return list(places.values())
