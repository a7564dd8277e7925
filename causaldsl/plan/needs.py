"""What each clean run must record, and where edits will start from it, read off the graph.

A clean run happens once; whatever is wanted of it later has to be asked for before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from causaldsl.graph.compile import Graph
from causaldsl.graph.operations import (
    CleanRunWord,
    HopWord,
    MeasureWord,
    Operation,
    PatchedRunWord,
    SiteAt,
    TraceWord,
)
from causaldsl.model.sites import Site
from causaldsl.plan.components import changed_at, components_of, streams_behind
from causaldsl.plan.freeze import freeze_of
from causaldsl.plan.virtual import edited, read_for, touched
from causaldsl.vocabulary.histograms import Projection
from causaldsl.vocabulary.metrics import METRICS
from causaldsl.vocabulary.probes import Probe

BackendOf = Callable[[list[Site]], str]
"""The name of the backend that serves all these sites."""


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
class Asked:
    """The needs of every (clean run, backend), the backend of every run, the logits it must give.

    ``vocabulary`` has, by run, the metrics that want its logits of the whole vocabulary.
    """

    needs: dict[tuple[str, str], Needs] = field(default_factory=lambda: defaultdict(Needs))
    backends: dict[str, str] = field(default_factory=dict)
    vocabulary: dict[str, set[str]] = field(default_factory=dict)


def read_needs(graph: Graph, order: Sequence[str], backend_of: BackendOf, parallel: bool) -> Asked:
    """The needs of all operations. ``parallel``: attention and MLP read the same stream."""
    return _Reader(graph, backend_of, parallel).read(order)


def changed_places(change: Operation) -> tuple[SiteAt, ...]:
    """Where an intervention, or a hop of a path, changes the run."""
    return change.to if isinstance(change.word, HopWord) else (change.at_site,)


def places_changed_in(graph: Graph, run: Operation) -> list[SiteAt]:
    """Where all that a run or hop does changes it."""
    changes = [graph.operation(key) for key in run.all_given("do")]
    return [place for change in changes for place in changed_places(change)]


class _Reader:
    def __init__(self, graph: Graph, backend_of: BackendOf, parallel: bool):
        self.graph, self.backend_of, self.parallel = graph, backend_of, parallel
        self.asked = Asked()

    def read(self, order: Sequence[str]) -> Asked:
        default = self.backend_of([])
        for key in order:
            self._operation(key, self.graph.operation(key))
        for key in order:
            if isinstance(self.graph.operation(key).word, CleanRunWord):
                self.asked.backends[key] = default
                self.asked.needs[key, default]  # there, if only for its own outcome
        return self.asked

    def _operation(self, key: str, operation: Operation) -> None:
        word = operation.word
        if isinstance(word, PatchedRunWord | HopWord):
            self._run(key, operation)
        elif isinstance(word, TraceWord):
            self._trace(key, operation, word)
        elif isinstance(word, Projection):
            self._projection(key, operation)
        elif isinstance(word, Probe):
            self._probe(key, operation)
        elif operation.at is not None and operation.given("base") and not _takes_values(operation):
            self._learned(key, operation)
        elif isinstance(word, MeasureWord):
            wanted = {m for m in word.metrics if METRICS[m].needs == "vocabulary"}
            for given in operation.inputs if wanted else ():
                self.asked.vocabulary.setdefault(given.key, set()).update(wanted)

    def _serve(self, key: str, places: list[SiteAt]) -> str:
        """Choose the backend of an operation for all that it touches."""
        name = self.backend_of([site for place in places for site in touched(place.site)])
        self.asked.backends[key] = name
        return name

    def _of(self, operation: Operation, side: str, name: str) -> Needs:
        clean = operation.given(side)
        assert clean is not None
        return self.asked.needs[clean, name]

    def _run(self, key: str, operation: Operation) -> None:
        """A run with changes in force; a hop also sees what its receivers read."""
        places = [*places_changed_in(self.graph, operation), *operation.to]
        name = self._serve(key, places)
        needs = self._of(operation, "base", name)
        needs.edits |= dict.fromkeys(edited(place) for place in places)
        needs.frozen |= freeze_of(operation.word) is not None
        for given in operation.all_given("do"):
            change = self.graph.operation(given)
            if isinstance(change.word, HopWord):
                continue
            for side in ("base", "source"):
                if change.given(side) is not None:
                    self._of(change, side, name).reads |= _fresh(read_for(change.at_site))

    def _trace(self, key: str, operation: Operation, word: TraceWord) -> None:
        """Components are recorded clean on the bases; of the sources, only what is changed."""
        self._run(key, operation)
        streams = streams_behind(self.graph, operation, self.parallel)
        changed = [*changed_at(self.graph, operation), *streams]
        traced = [component.at for component in components_of(word)]
        name = self._serve(key, [*changed, *traced])
        self._of(operation, "source", name).reads |= _fresh(changed)
        needs = self._of(operation, "base", name)
        needs.reads |= _fresh(traced)
        needs.edits |= _fresh([*changed, *traced])
        needs.frozen = True

    def _projection(self, key: str, operation: Operation) -> None:
        """A site that is read in a clean run, or in a run with interventions in force."""
        at = operation.at_site
        run = self.graph.operation(operation.given("run") or "")
        places = places_changed_in(self.graph, run)
        name = self._serve(key, [at, *places])
        if not places:
            self._of(operation, "run", name).reads |= _fresh(read_for(at))
            return
        self._of(run, "base", name).edits |= _fresh([edited(place) for place in [*places, at]])

    def _probe(self, key: str, operation: Operation) -> None:
        """Two sites of the bases; for a step at the second, the first is read again after it."""
        places = [operation.at_site, *operation.to]
        needs = self._of(operation, "base", self._serve(key, places))
        for place in places:
            needs.reads |= _fresh(read_for(place))
            if operation.word.runs == "edits":
                needs.edits[place] = None

    def _learned(self, key: str, operation: Operation) -> None:
        """A subspace made from activations. DAS and gradients also edit the bases."""
        at = operation.at_site
        name = self._serve(key, [at])
        for side in ("base", "source"):
            if operation.given(side) is not None:
                self._of(operation, side, name).reads |= _fresh(read_for(at))
        if operation.word.runs == "gradients":
            self._of(operation, "base", name).edits[edited(at)] = None


def _fresh(places: list[SiteAt]) -> dict[SiteAt, None]:
    return dict.fromkeys(places)


def _takes_values(operation: Operation) -> bool:
    """Whether this is an intervention, whose run plans for it."""
    return operation.word.changes
