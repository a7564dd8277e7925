"""What an operation asks of the model, as data: what clean runs record for it, and its passes.

Needs, sharing, memory, arithmetic and the printed plan are all read off this; the engine makes
these passes and no others. A word's own declaration (``runs``, ``sides``, ``passes``, ``training``)
is enough for most; the operations that the graph itself is made of have rules in ``rules.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from causaldsl.check.pairs import Sample
from causaldsl.discovery import into
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation, SiteAt
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan.examples import epochs_of, examples_of, held_out_of
from causaldsl.plan.freeze import Freeze
from causaldsl.plan.virtual import edited, read_for, touched
from causaldsl.vocabulary.base import OwnPass, Word

ANSWERS = 2
"""Logits of a prompt that are wanted where no metric needs more: the answer's and the foil's."""


@dataclass(frozen=True)
class Request:
    """One pass over all prompts of a clean run, or ``times`` over.

    ``edits`` are where it is changed. It ends with what is read at ``reads``; where nothing is
    read, with logits: ``columns`` of them, or (None) the whole vocabulary's. ``hold`` is what is
    held at its clean values. With ``most``, how often is known only when it runs, and this is the
    most that it can be.
    """

    clean: str
    edits: tuple[SiteAt, ...]
    reads: tuple[SiteAt, ...] = ()
    hold: Freeze | None = None
    columns: int | None = ANSWERS
    backward: bool = False
    times: float = 1
    most: bool = False
    shared: Hashable = None
    """What identifies a pass that several words take and that is made once."""


@dataclass(frozen=True)
class Asked:
    """All that one operation asks of the model.

    ``records`` are (clean run, place): what clean runs record for it. ``requests`` are its passes,
    ``sites`` all that its backend must serve. ``outcomes`` are the runs whose logits it uses, with
    the metrics of each that want the whole vocabulary. Operations of one word with the same
    ``mark`` can go through the model together.
    """

    records: tuple[tuple[str, SiteAt], ...] = ()
    requests: tuple[Request, ...] = ()
    sites: tuple[Site, ...] = ()
    outcomes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    for_outcome: bool = False
    """Whether it is made for its logits alone, and so not at all where nobody uses them."""
    mark: Hashable = None
    epochs: int = 0
    values: tuple[str, ...] = ()
    """Operations that are no inputs of it, but whose values it takes."""
    writes: Sample | None = None
    """Texts that the model writes, a token at a time."""
    note: str = ""

    def uses(self) -> set[str]:
        """The operations whose values its passes take, beside its inputs."""
        return {request.clean for request in self.requests} | set(self.values)


Rule = Callable[[Graph, Operation, ModelDims], Asked]
_RULES: dict[type[Word], Rule] = {}


def plans(*words: type[Word]) -> Callable[[Rule], Rule]:
    """Register what operations of these words ask, where the word alone does not say it."""
    return into(_RULES, *words)


def asked_by(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """What one operation asks of the model."""
    rule = _RULES.get(type(operation.word), _by_declaration)
    return rule(graph, operation, shapes)


def _by_declaration(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """What the word declares that it asks. An intervention asks nothing: its run plans for it."""
    word, at = operation.word, operation.at
    if word.runs == "nothing" or word.changes or at is None:
        return Asked()
    places = [at, *operation.to]
    sides = [key for side in word.sides if (key := operation.find(side)) is not None]
    base = operation.input("base")
    training = word.training(at.site.width(shapes))
    requests = [_own(base, operation, one) for one in word.passes()]
    epochs = 0
    if training is not None:
        pairs = graph.pairs_of(base)
        epochs = epochs_of(pairs, training)
        times = epochs * examples_of(pairs, training.no_change) / len(pairs)
        columns = None if training.whole_vocabulary else ANSWERS
        most = training.epochs is None  # it stops by the loss of what it holds out
        requests = [
            replace(r, times=times, columns=columns, shared=None, most=most) for r in requests
        ]
        if held_out_of(pairs, training):
            requests += [replace(request, backward=False) for request in requests]
    return Asked(
        records=recorded(sides, places),
        requests=tuple(requests),
        sites=sites_of(places),
        mark=training and (*sides, training.batch, training.epochs, training.no_change),
        epochs=epochs,
        note=" (at most)" if training and training.epochs is None else "",
    )


def _own(base: str, operation: Operation, one: OwnPass) -> Request:
    """A pass that a word declares, at the places of the operation."""
    edits = tuple(edited(operation.place(name)) for name in one.changed)
    reads = tuple(operation.place(name) for name in one.read)
    shared = edits if one.backward else None
    return Request(base, edits, reads, backward=one.backward, shared=shared)


def recorded(runs: Iterable[str], places: Iterable[SiteAt]) -> tuple[tuple[str, SiteAt], ...]:
    """What these clean runs must record so that these places can be read."""
    kept = [read for place in places for read in read_for(place)]
    return tuple((run, place) for run in runs for place in kept)


def sites_of(places: Iterable[SiteAt]) -> tuple[Site, ...]:
    """The sites of the model that reading and writing at these places takes."""
    return tuple(site for place in places for site in touched(place.site))
