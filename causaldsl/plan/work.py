"""Every pass that a program takes, in order: from where, over what, and how much arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from causaldsl.check.pairs import Prompt, PromptSet, Sample
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import SiteAt
from causaldsl.model.shapes import ModelDims
from causaldsl.plan import beside
from causaldsl.plan.entries import Entry, entry_of, last_block
from causaldsl.plan.flops import (
    backward_flops,
    clean_flops,
    shared_flops,
    tail_flops,
    unembed_flops,
    whole_flops,
)
from causaldsl.plan.memory import window_of
from causaldsl.plan.needs import Needs
from causaldsl.plan.planner import Plan
from causaldsl.plan.prefixes import shared_parts
from causaldsl.plan.request import Asked, Request
from causaldsl.plan.sharing import Members
from causaldsl.vocabulary.generation import GenerateWord


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
class Shared:
    """How many of a clean run's ``tokens`` are ``computed``, and the FLOPs that are ``saved``."""

    tokens: int
    computed: int
    saved: int


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
    shared: Shared | None = None

    @property
    def flops(self) -> int:
        return round(sum(one.flops * one.times for one in self.passes))

    @property
    def whole(self) -> int:
        return round(sum(one.whole * one.times for one in self.passes))


def work_of(graph: Graph, plan: Plan, shapes: ModelDims) -> list[Work]:
    """The work of a program whose model reads prompts of text, in the order of the plan."""
    counter = _Counter(graph, plan, shapes)
    return [work for group in plan.order for work in counter.works(group)]


def clean_work(graph: Graph, plan: Plan, shapes: ModelDims, run: str, backend: str) -> Work:
    """The pass of one clean run of such a program."""
    return _Counter(graph, plan, shapes).clean(run, backend)


class _Counter:
    """Counts one pass after another: passes that several words share are made once."""

    def __init__(self, graph: Graph, plan: Plan, shapes: ModelDims):
        self.graph, self.plan, self.shapes = graph, plan, shapes
        self._windows: dict[tuple[str, SiteAt], int] = {}
        self._wholes: dict[str, int] = {}
        self._read: Counter[str] | None = None
        self._shared: set[object] = set()

    def works(self, group: Members) -> Iterator[Work]:
        word = self.graph.operation(group[0]).word
        if isinstance(word, GenerateWord):
            yield self._continued(group, word.tokens)
            return
        for key in group:
            if (sample := self.plan.asked[key].writes) is not None:
                yield self._written((key,), sample)
        for backend in sorted(name for key, name in self.plan.needs if key == group[0]):
            yield self.clean(group[0], backend)
        asked = {key: self.plan.asked[key] for key in group}
        passes: list[Pass] = []
        for key, one in asked.items():
            known = [r for r in one.requests if self._is_known(one, r) and self._is_new(r)]
            if known:
                own = [self._pass(key, request) for request in known]
                passes += self._with_beside(key, own, self._prompts(known[0].clean))
        if passes:
            first = next(iter(asked.values()))
            rows = self._rows(first.requests[0], first.epochs)
            kind = self.graph.operation(group[0]).word.word.replace("_", " ")
            backend = self.plan.backends[group[0]]
            note = first.note
            if backend == "hooks" and any(r.hold for one in asked.values() for r in one.requests):
                note += "; before each, a clean pass for what is held"
            yield Work(group, kind, backend, rows, tuple(passes), first.epochs, note)

    def _is_known(self, one: Asked, request: Request) -> bool:
        """Whether it is told how often a pass is made; for a training, how often at most."""
        return not request.most or (one.epochs > 0 and request.backward)

    def _is_new(self, one: Request) -> bool:
        """Whether no word before it has made the same pass."""
        same = one.shared and (one.clean, one.shared)
        is_new = same is None or same not in self._shared
        self._shared.add(same)
        return is_new

    def _rows(self, request: Request, epochs: int) -> int:
        """Prompts, or the examples of an epoch."""
        return round(len(self._prompts(request.clean)) * request.times / max(1, epochs))

    def clean(self, key: str, backend: str) -> Work:
        prompts, needs = self._prompts(key), self.plan.needs[key, backend]
        lengths = [prompt.length for prompt in prompts]
        last, whole = self.shapes.n_layers - 1, self._whole(key)
        if not needs.whole:
            last = min(last, last_block((at.site for at in needs.reads), self.shapes.n_layers))
        flops, wanted = clean_flops(self.shapes, lengths, last), self.plan.columns(key)
        pairs = self.graph.pairs_of(key)
        unwritten = isinstance(pairs, PromptSet) and pairs.sample is not None
        shares = backend == "cone" and not unwritten
        shared = self._shared_by(prompts, needs, last) if shares else None
        flops -= shared.saved if shared is not None else 0
        read = self._read_of(key)
        if needs.logits:
            flops += len(prompts) * unembed_flops(self.shapes, wanted)
        if backend == "hooks":
            flops, last = whole, self.shapes.n_layers - 1
        columns = wanted if needs.logits else 0
        one = Pass(Entry(-1), last, max(lengths), columns, flops + read, whole + read)
        side = self.graph.operation(key).side
        return Work((key,), f"clean {side} run", backend, len(prompts), (one,), shared=shared)

    def _read_of(self, run: str) -> int:
        """FLOPs of features that are read of a clean run and taken to no pass."""
        if self._read is None:
            self._read = Counter()
            for key, one in self.plan.asked.items():
                if one.records and not one.requests:
                    flops = beside.of_values(self.graph, self.graph.operation(key))
                    first = one.records[0][0]
                    self._read[first] += self._at_places(flops, self._prompts(first))
        return self._read.get(run, 0)

    def _at_places(self, flops: beside.Flops, prompts: Iterable[Prompt]) -> int:
        return sum(each * at.position.count(prompts) for at, each in flops.items())

    def _with_beside(self, key: str, passes: list[Pass], prompts: list[Prompt]) -> list[Pass]:
        """Passes of an operation with what they take beside the model; the first, with what it
        works out before."""
        operation = self.graph.operation(key)
        once = self._at_places(beside.of_values(self.graph, operation), prompts)
        each = self._at_places(beside.of_pass(self.graph, operation, self.shapes), prompts)
        if not once and not each:
            return passes
        own = [each + (round(once / one.times) if not i else 0) for i, one in enumerate(passes)]
        return [
            replace(one, flops=one.flops + more, whole=one.whole + more)
            for one, more in zip(passes, own, strict=True)
        ]

    def _shared_by(self, prompts: list[Prompt], needs: Needs, last: int) -> Shared | None:
        """What is computed once for prompts that begin alike, if it is worth it."""
        tokens = computed = saved = 0
        for group in needs.groups(prompts):
            ids = [prompts[i].ids for i in group]
            if (parts := shared_parts(ids)) is not None:
                tokens += sum(map(len, ids))
                computed += sum(part.positions for part in parts)
                saved += clean_flops(self.shapes, map(len, ids), last)
                saved -= shared_flops(self.shapes, parts, last)
        return Shared(tokens, computed, saved) if tokens else None

    def _written(self, group: Members, sample: Sample) -> Work:
        """A pass for every token but the first, over that token; those before it are kept."""
        steps = sample.length - 1
        flops = sum(tail_flops(self.shapes, Entry(-1), 1, left, None) for left in range(steps))
        of_one = round(sample.count * flops / steps)
        one = Pass(Entry(-1), self.shapes.n_layers - 1, 1, None, of_one, of_one, steps)
        return Work(group, "written by the model", "cone", sample.count, (one,))

    def _continued(self, group: Members, tokens: int) -> Work:
        """Texts behind prompts: a pass for each new token, all of the prompt with the first."""
        shapes, backend = self.shapes, self.plan.backends[group[0]]
        prompts = self._prompts(self.graph.operation(group[0]).input("base"))
        lengths = Counter(prompt.length for prompt in prompts)
        on_hooks = backend == "hooks"  # which gives logits at every position
        logits = sum(lengths.elements()) if on_hooks else len(prompts)
        flops = clean_flops(shapes, lengths.elements()) + logits * unembed_flops(shapes, None)
        for length, count in lengths.items():
            # It grows evenly with what lies to the left.
            ends = (tail_flops(shapes, Entry(-1), 1, length + new, None) for new in (0, tokens - 2))
            flops += count * (tokens - 1) * sum(ends) // 2
        of_one = round(flops / tokens)
        one = Pass(Entry(-1), shapes.n_layers - 1, 1, None, of_one, of_one, tokens)
        note = " (at most)"
        return Work(group, "generated", backend, len(prompts), (one,) * len(group), note=note)

    def _pass(self, key: str, request: Request) -> Pass:
        prompts = self._prompts(request.clean)
        window = self._window(request.clean, [*request.edits, *request.reads])
        on_hooks = self.plan.backends[key] == "hooks"
        if request.backward:
            return self._trained(request, prompts, window, on_hooks)
        n_layers, last = self.shapes.n_layers, self.shapes.n_layers
        columns = self.plan.columns(key)
        if request.reads:
            last = last_block((at.site for at in request.reads), n_layers)
            columns = None if last >= n_layers else 0
        whole = self._whole(request.clean) * (1 if request.hold is None else 2)
        if on_hooks:
            return Pass(Entry(-1), n_layers - 1, window, columns, whole, whole)
        touched = {at.site for at in (*request.edits, *request.reads)}
        entry = min(entry_of(site, n_layers) for site in touched)
        flops = sum(
            count
            * tail_flops(self.shapes, entry, window, left, columns, last, request.hold, touched)
            for left, count in _lefts(prompts, window).items()
        )
        return Pass(entry, min(last, n_layers - 1), window, columns, flops, whole)

    def _trained(
        self, request: Request, prompts: list[Prompt], window: int, on_hooks: bool
    ) -> Pass:
        """A run and its gradients with respect to what is set at its site."""
        shapes, last, columns = self.shapes, self.shapes.n_layers - 1, request.columns
        through = min(entry_of(at.site, shapes.n_layers) for at in request.edits)
        whole = sum(
            whole_flops(shapes, [p.length])
            + backward_flops(shapes, through, p.length, 0, p.length * shapes.d_vocab)
            for p in prompts
        )
        if on_hooks:
            return Pass(Entry(-1), last, window, columns, whole, whole, request.times)
        flops = sum(
            count
            * (
                tail_flops(shapes, through, window, left, columns)
                + backward_flops(shapes, through, window, left, columns)
            )
            for left, count in _lefts(prompts, window).items()
        )
        return Pass(through, last, window, columns, flops, whole, request.times)

    def _prompts(self, clean_run: str) -> list[Prompt]:
        return self.graph.prompts_of(clean_run)

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


def _lefts(prompts: Iterable[Prompt], window: int) -> Mapping[int, int]:
    """How many prompts have how many positions to the left of the window."""
    return Counter(max(0, prompt.length - window) for prompt in prompts)
