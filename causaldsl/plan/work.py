"""Every pass that a program takes, in order: from where, over what, and how much arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from causaldsl.check.pairs import PairSet, Prompt
from causaldsl.graph.compile import Graph
from causaldsl.graph.operations import (
    CleanRunWord,
    HopWord,
    Operation,
    PatchedRunWord,
    SiteAt,
    TraceWord,
)
from causaldsl.model.shapes import Shapes
from causaldsl.plan.components import Component, changed_at, components_of, streams_behind
from causaldsl.plan.cones import Entry, entry_of, last_block
from causaldsl.plan.flops import (
    backward_flops,
    clean_flops,
    tail_flops,
    unembed_flops,
    whole_flops,
)
from causaldsl.plan.freeze import Freeze, freeze_of
from causaldsl.plan.memory import window_of
from causaldsl.plan.needs import places_changed_in
from causaldsl.plan.planner import Plan
from causaldsl.plan.sharing import Members
from causaldsl.plan.virtual import edited
from causaldsl.vocabulary.histograms import Projection
from causaldsl.vocabulary.probes import LogisticAccuracy
from causaldsl.vocabulary.subspaces import BestNeurons, Das, Gradient

ANSWERS = 2
"""Logits of a prompt that are wanted where no metric needs more: the answer's and the foil's."""


@dataclass(frozen=True)
class Pass:
    """All prompts once through the model, or ``times`` over.

    It runs from ``entry`` to block ``last`` over the last ``window`` positions; ``columns`` is how
    many logits it gives (None: the whole vocabulary's, 0: none). ``whole`` are the FLOPs of whole
    forward passes that do the same.
    """

    entry: Entry
    last: int
    window: int
    columns: int | None
    flops: int
    whole: int
    times: float = 1

    @property
    def blocks(self) -> int:
        """How many blocks it computes, the first perhaps in part."""
        return max(0, self.last + 1 - max(self.entry.layer, 0))


@dataclass(frozen=True)
class Work:
    """What goes through the model together: ``members`` are operations, ``rows`` their prompts.

    ``epochs`` is 0 for what is not trained.
    """

    members: Members
    kind: str
    backend: str
    rows: int
    passes: tuple[Pass, ...]
    epochs: int = 0
    note: str = ""

    @property
    def flops(self) -> int:
        return round(sum(one.flops * one.times for one in self.passes))

    @property
    def whole(self) -> int:
        return round(sum(one.whole * one.times for one in self.passes))


def work_of(graph: Graph, plan: Plan, shapes: Shapes) -> list[Work]:
    """The work of a program whose model has a text's prompts, in the order of the plan."""
    counter = _Counter(graph, plan, shapes)
    return [work for group in plan.order for work in counter.works(group)]


def examples_of(pairs: PairSet, no_change: float) -> int:
    """How many examples DAS trains on: the pairs, and no-change examples where names allow it."""
    by_shape: dict[str, list[set[int]]] = {}
    for pair in pairs.pairs:
        for prompt in (pair.base, pair.source):
            if prompt.pattern:
                by_shape.setdefault(prompt.shape, []).append({pair.answer, pair.foil})
    able = sum(
        any(names.isdisjoint((pair.answer, pair.foil)) for names in by_shape.get(shape, ()))
        for pair, shape in ((pair, pair.base.shape) for pair in pairs.pairs)
    )
    return len(pairs) + round(no_change * able)


class _Counter:
    """Counts one pass after another: gradients that several words share are made once."""

    def __init__(self, graph: Graph, plan: Plan, shapes: Shapes):
        self.graph, self.plan, self.shapes = graph, plan, shapes
        self._windows: dict[tuple[str, SiteAt], int] = {}
        self._wholes: dict[str, int] = {}
        self._gradients: set[tuple[str, SiteAt]] = set()

    def works(self, group: Members) -> Iterator[Work]:
        operations = [self.graph.operation(key) for key in group]
        word = operations[0].word
        if isinstance(word, CleanRunWord):
            for backend in sorted(name for key, name in self.plan.needs if key == group[0]):
                yield self._clean(group[0], word, backend)
            return
        passes = [one for operation in operations for one in self._passes(operation)]
        if not passes:
            return
        first = operations[0]
        rows = len(self._pairs(self._base(first)))
        epochs, note = 0, ""
        if isinstance(word, Das):
            rows, epochs = self._examples(first, word), self._epochs(first, word)
        if isinstance(word, TraceWord):
            note = f"; edges among the top {word.top}, which it finds, come on top of this"
        kind = word.word.replace("_", " ")
        yield Work(group, kind, self.plan.backends[group[0]], rows, tuple(passes), epochs, note)

    def _clean(self, key: str, word: CleanRunWord, backend: str) -> Work:
        prompts, needs = self._prompts(key), self.plan.needs[key, backend]
        last, columns = self.shapes.n_layers - 1, 0
        if word.side == "source" and not needs.edits:
            last = min(last, last_block((at.site for at in needs.reads), self.shapes.n_layers))
        lengths = [prompt.length for prompt in prompts]
        wanted: int | None = columns
        if word.side == "base" and backend == self.plan.backends[key]:
            wanted = self._columns(key)
        whole = self._whole(key)
        flops = clean_flops(self.shapes, lengths, last)
        if wanted != 0:
            flops += len(prompts) * unembed_flops(self.shapes, wanted)
        if backend == "hooks":
            flops, last = whole, self.shapes.n_layers - 1
        one = Pass(Entry(-1), last, max(lengths), wanted, flops, whole)
        return Work((key,), f"clean {word.side} run", backend, len(prompts), (one,))

    def _passes(self, operation: Operation) -> list[Pass]:
        word, at = operation.word, operation.at
        if isinstance(word, PatchedRunWord | HopWord):
            places = places_changed_in(self.graph, operation)
            return [self._run(operation, places, operation.to, freeze_of(word))]
        if isinstance(word, TraceWord):
            return self._trace(operation, word)
        if isinstance(word, Das):
            times = self._epochs(operation, word) * self._examples(operation, word)
            columns = None if word.objective == "cross_entropy" else ANSWERS
            share = times / len(self._pairs(self._base(operation)))
            return [self._trained(operation, columns, share)]
        if isinstance(word, Gradient | BestNeurons) and self._is_first(operation):
            return [self._trained(operation, ANSWERS, 1)]
        if isinstance(word, LogisticAccuracy) and at is not None:
            return 2 * [self._run(operation, operation.to, [at], None)]
        if isinstance(word, Projection) and at is not None:
            run = self.graph.operation(operation.given("run") or "")
            places = places_changed_in(self.graph, run)
            return [self._run(operation, places, [at], None)] if places else []
        return []

    def _run(
        self,
        operation: Operation,
        edits: Sequence[SiteAt],
        reads: Sequence[SiteAt],
        freeze: Freeze | None,
    ) -> Pass:
        """A run with edits in force, that ends with what is read; or if nothing is, with logits."""
        shapes, n_layers = self.shapes, self.shapes.n_layers
        sites = [edited(at).site for at in edits]
        if freeze is not None:
            freeze = freeze.freeing(sites, shapes)
        clean = self._base(operation)
        prompts, window = self._prompts(clean), self._window(clean, [*edits, *reads])
        last, columns = n_layers, self._columns(operation.key)
        if reads:
            last = last_block((at.site for at in reads), n_layers)
            columns = None if last >= n_layers else 0
        whole = self._whole(clean) * (1 if freeze is None else 2)
        if self.plan.backends[operation.key] == "hooks":
            return Pass(Entry(-1), n_layers - 1, window, columns, whole, whole)
        touched = {*sites, *(at.site for at in reads)}
        entry = min(entry_of(site, n_layers) for site in touched)
        flops = sum(
            count * tail_flops(shapes, entry, window, left, columns, last, freeze, touched)
            for left, count in _lefts(prompts, window).items()
        )
        return Pass(entry, min(last, n_layers - 1), window, columns, flops, whole)

    def _trained(self, operation: Operation, columns: int | None, times: float) -> Pass:
        """A run and its gradients with respect to what is set at the operation's site."""
        shapes, at = self.shapes, edited(operation.at_site)
        clean, last = self._base(operation), shapes.n_layers - 1
        prompts, window = self._prompts(clean), self._window(clean, [at])
        through = entry_of(at.site, shapes.n_layers)
        whole = sum(
            whole_flops(shapes, [p.length])
            + backward_flops(shapes, through, p.length, 0, p.length * shapes.d_vocab)
            for p in prompts
        )
        if self.plan.backends[operation.key] == "hooks":
            return Pass(Entry(-1), last, window, columns, whole, whole, times)
        flops = sum(
            count
            * (
                tail_flops(shapes, through, window, left, columns)
                + backward_flops(shapes, through, window, left, columns)
            )
            for left, count in _lefts(prompts, window).items()
        )
        return Pass(through, last, window, columns, flops, whole, times)

    def _trace(self, operation: Operation, word: TraceWord) -> list[Pass]:
        """Total effect, what it does to every component and by nature, every mediated effect."""
        on, components = changed_at(self.graph, operation), components_of(word)
        traced = [component.at for component in components]
        stream = streams_behind(self.graph, operation, self.shapes.parallel)
        passes = [self._run(operation, on, (), None)]
        passes += [self._run(operation, places, traced, None) for places in (on, stream)]
        held = [[component.at] for component in components]
        held += [places for places in _by_name(components).values() if len(places) > 1]
        return passes + [self._run(operation, [*on, *places], (), None) for places in held]

    def _columns(self, run: str) -> int | None:
        return None if self.plan.vocabulary.get(run) else ANSWERS

    def _base(self, operation: Operation) -> str:
        """The clean run that an operation starts from."""
        given = operation.given("base") or operation.given("run") or ""
        run = self.graph.operation(given)
        return given if isinstance(run.word, CleanRunWord) else run.given("base") or ""

    def _pairs(self, clean_run: str) -> PairSet:
        return self.graph.pairs[self.graph.operation(clean_run).given("pairs") or ""]

    def _prompts(self, clean_run: str) -> list[Prompt]:
        return prompts_of(self.graph, clean_run)

    def _examples(self, operation: Operation, word: Das) -> int:
        return examples_of(self._pairs(self._base(operation)), word.no_change)

    def _epochs(self, operation: Operation, word: Das) -> int:
        return word.training(operation.at_site.site.width(self.shapes)).epochs

    def _is_first(self, operation: Operation) -> bool:
        """Whether no word before it has made the same gradients."""
        these = (self._base(operation), operation.at_site)
        is_first = these not in self._gradients
        self._gradients.add(these)
        return is_first

    def _whole(self, clean: str) -> int:
        """FLOPs of whole forward passes of a clean run's prompts."""
        if clean not in self._wholes:
            lengths = [prompt.length for prompt in self._prompts(clean)]
            self._wholes[clean] = whole_flops(self.shapes, lengths)
        return self._wholes[clean]

    def _window(self, clean: str, places: Iterable[SiteAt]) -> int:
        sizes = [1]
        for at in places:
            if (clean, at) not in self._windows:
                self._windows[clean, at] = window_of([at], self._prompts(clean))
            sizes.append(self._windows[clean, at])
        return max(sizes)


def prompts_of(graph: Graph, clean_run: str) -> list[Prompt]:
    """The prompts of a clean run."""
    operation = graph.operation(clean_run)
    assert isinstance(operation.word, CleanRunWord)
    pairs = graph.pairs[operation.given("pairs") or ""]
    return [getattr(pair, operation.word.side) for pair in pairs.pairs]


def _lefts(prompts: Iterable[Prompt], window: int) -> Mapping[int, int]:
    """How many prompts have how many positions to the left of the window."""
    return Counter(max(0, prompt.length - window) for prompt in prompts)


def _by_name(components: Iterable[Component]) -> dict[str, list[SiteAt]]:
    places: dict[str, list[SiteAt]] = {}
    for component in components:
        places.setdefault(component.name, []).append(component.at)
    return places
