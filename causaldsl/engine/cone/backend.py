"""The default backend: compute only what an edit can change.

An edit at layer l and position p changes nothing below l and nothing left of p. So a clean run
keeps, for the places where edits will enter (n prompts, a window of their last S positions)::

    residual[entry]          (n, S, d)                    the stream where a tail starts
    neurons[layer]           (n, S, d_mlp)                if it starts at an MLP's neurons
    keys, values[layer]      (n, kv_heads, P, d_head)     of later layers, left of the edits
    components               (n, S, d) each               what frozen runs hold (frozen.py)

and an edited run computes the blocks from the entry up, on its window, then the unembedding at the
last position. For an edit at the last of 20 tokens that is one token through the upper blocks,
forward and backward. Prompts of different lengths go together, aligned at their ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import Activations, Ask, CleanPass, Logits, Losses, Pass, logits_of
from causaldsl.engine.cone.attention import Past
from causaldsl.engine.cone.decoder import Forward, Start
from causaldsl.engine.cone.families import Unsupported, read_decoder
from causaldsl.engine.cone.frozen import FrozenValues, of_rows
from causaldsl.engine.cone.heap import kept_heap
from causaldsl.engine.cone.packing import LIMIT, STEPS, Packing
from causaldsl.engine.cone.passes import Part, first_of, parts, put_together, size_of
from causaldsl.engine.cone.prefixes import Rows, SharedRows
from causaldsl.engine.cone.recorder import ConeRun, Recorder, join
from causaldsl.engine.cone.tail import Tail
from causaldsl.engine.cone.taps import LOGITS, Place, Taps, place
from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.cone.window import Window, geometries
from causaldsl.engine.cone.writer import ConeWriter
from causaldsl.engine.edits import Read, needs_grad
from causaldsl.engine.memory.free import free_bytes
from causaldsl.engine.transfer import placed
from causaldsl.engine.weights.checkpoint import Checkpoint
from causaldsl.engine.weights.known_answers import PROBED_WINDOW, answers_of, probe_tokens
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan.chunks import CONE_TOKENS
from causaldsl.plan.entries import Entry, Stage, entry_of, last_block
from causaldsl.plan.prefixes import shared_parts

T = TypeVar("T")

_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}, 0.05
_SAME = {torch.float64: 1e-10, torch.float32: 2e-4}, 0.01
"""How far our logits on the probe may lie from the module's, and from ours in another run. By
dtype; in half precision as a share of the largest logit."""


class ConeBackend:
    """Runs a Hugging Face decoder through our own forward pass, ``at_once`` positions together.

    Raises :class:`Unsupported` for an architecture without a forward pass here, or when ours does
    not give the module's own logits on a probe (``known_answers.py``), with its windows narrowed
    too; ``wanted`` are logits to compare with in their place.
    """

    name = "cone"
    ragged = True

    def __init__(
        self,
        source: nn.Module | Checkpoint,
        shapes: ModelDims,
        at_once: int = CONE_TOKENS,
        wanted: Tensor | None = None,
    ):
        self.decoder: Decoder = read_decoder(source)
        self.shapes, self.at_once, self.most = shapes, at_once, 0
        self._n_layers = len(self.decoder.blocks)
        self._tail: Tail | None = None
        self._trains_at = 0
        weight = self.decoder.embed
        self._places: set[Place] = set()
        self.probed = self._on_probe(probe_tokens(len(weight), weight.device))
        if isinstance(source, Checkpoint):
            self.answers = source.module.answers
            self._verify(source.module.ours, _SAME)
        else:
            self.answers = answers_of(source, weight) if wanted is None else wanted
            self._verify(self.answers, _TOLERANCE)

    def serves(self, site: Site) -> bool:
        """Whether the forward pass offers this place: on the probe it has been through them all."""
        return place(site) in self._places

    @torch.no_grad()
    def clean(self, wanted: CleanPass) -> ConeRun:
        tokens, reads, edits_at = wanted.tokens, wanted.reads, wanted.edits_at
        n, longest = tokens.shape
        lengths = torch.full((n,), longest) if wanted.lengths is None else wanted.lengths.cpu()
        self._check_length(longest)
        window = _window(edits_at, lengths)
        run = ConeRun(tokens, lengths, window)
        entries = {self._entry(read.site) for read in edits_at}
        lefts = self._lefts(edits_at)
        order, recorders = [], []
        for places, rows in self._rows(tokens, lengths, window):
            self.most = max(self.most, rows.computed)
            local = [Read(read.site, read.positions[places]) for read in reads]
            recorder = Recorder(self.decoder, local, entries, rows, lefts, wanted.frozen, longest)
            forward = Forward(self.decoder, rows.geometries, None, recorder, shared=rows.shared)
            starts = [Start(Entry(-1), forward.embed(rows.tokens, rows.positions))]
            last = self._last_block(reads)
            order.append(places)
            recorders.append(recorder)
            if wanted.logits is None and not edits_at and last < self._n_layers:
                forward.run(starts, last)
                continue
            x = forward.run(starts)
            recorder.end(x)
            if recorder.touches(LOGITS):
                recorder.at(*LOGITS, forward.unembed(x, at_last=False))
            self._places |= recorder.places
        join(run, recorders, reads, torch.cat(order))
        return run

    def _rows(
        self, tokens: Tensor, lengths: Tensor, window: Window
    ) -> Iterator[tuple[Tensor, Rows]]:
        """The prompts of a clean pass (indices), part by part, and where each is computed."""
        rows = zip(tokens.tolist(), lengths.tolist(), strict=True)
        shared = shared_parts([tuple(ids[:length]) for ids, length in rows], self.at_once)
        for part in shared or ():
            places, width = torch.tensor(part.rows), max(part.lengths)
            own = tokens[placed(places, tokens.device), :width]
            yield places, SharedRows(self.decoder, own, part, window.take(places), tokens.shape[1])
        if shared is None:
            in_order = torch.argsort(lengths, stable=True)
            for places in in_order.split(max(1, self.at_once // tokens.shape[1])):
                # Positions behind a shorter prompt's end are computed, and seen by none of its own.
                width = int(lengths[places].max())
                own = tokens[placed(places, tokens.device), :width]
                yield places, Rows(self.decoder, own, lengths[places], window.take(places))

    def run(self, wanted: Pass[T]) -> T:
        ask: Ask[Any] = wanted.ask
        match ask:
            case Activations():
                found: Any = self._activations(wanted)
            case Losses(targets):
                found = self._ends(wanted, partial(_losses, targets))
            case Logits(columns):
                found = self._ends(wanted, partial(_logits, columns))
        return found

    def _ends(self, wanted: Pass[T], end: Callable[[Forward, list[Start], Part], Tensor]) -> Tensor:
        """The answers (A, n, ...) that ``end`` makes of the arms' starts."""
        found = []
        for part in self._parts(wanted):
            with torch.set_grad_enabled(_trains(part)):
                begun = self._forward if any(part.edits) else self._unchanged
                found.append((part, end(*begun(wanted.clean, part), part)))
        return put_together(found, len(wanted.arms))

    def _activations(self, wanted: Pass[T]) -> list[Tensor]:
        """The reads, (A, n, k, d) each; nothing is computed above the last of them."""
        last = self._last_block(wanted.reads)
        found: list[list[tuple[Part, Tensor]]] = [[] for _ in wanted.reads]
        for part in self._parts(wanted):
            with torch.set_grad_enabled(_trains(part)):
                forward, starts = self._forward(wanted.clean, part)
                if last < self._n_layers:
                    forward.run(starts, last)
                else:
                    _edited_logits(forward, forward.run(starts))
                for index, value in enumerate(forward.taps.values):
                    found[index].append((part, value))
        return [put_together(values, len(wanted.arms)) for values in found]

    def writer(self, tokens: Tensor, lengths: Tensor, room: int) -> ConeWriter:
        """Writes behind prompts (n, T) of ``lengths`` (n,), padded on the right."""
        self._check_length(tokens.shape[1] + room)
        return ConeWriter(self.decoder, tokens, lengths, room)

    @contextmanager
    def training(self, steps: int, memory: int | None = None) -> Iterator[None]:
        """Matrices are laid out for ``steps`` passes with the same rows (``packing.py``)."""
        device = self.decoder.embed.device
        most = LIMIT
        if device.type == "cuda":
            most = min(free_bytes(str(each)) for each in self.decoder.devices) // 4
        packing = Packing(memory, most) if steps >= STEPS else None
        self._lay_out(packing)
        if packing is not None and Tail.serves(self.decoder):
            self._tail = Tail(self.decoder, packing)
        self._trains_at = self.at_once
        try:
            with kept_heap() if device.type == "cpu" else nullcontext():
                yield
        finally:
            self._trains_at, self._tail = 0, None
            self._lay_out(None)

    def _lay_out(self, packing: Packing | None) -> None:
        """Lay matrices out for repeated passes, or no longer."""
        for linear in self.decoder.linears():
            linear.pack(packing)

    def _parts(self, wanted: Pass[T]) -> Iterator[Part]:
        lengths = wanted.clean.lengths
        lengths = lengths if wanted.rows is None else lengths[wanted.rows]
        return parts(wanted, lengths, self.shapes, self.at_once)

    def _unchanged(self, clean: ConeRun, part: Part) -> tuple[Forward, list[Start]]:
        """A pass from the clean run's last block on (A, n, 1, d), for arms without edits."""
        if not len(clean.last):
            raise LookupError("this clean run stopped before the logits")
        rows = part.rows
        if isinstance(rows, Tensor):
            rows = placed(rows, clean.last.device)
        last = of_rows(clean.last, rows, slice(None))
        nowhere = Window(torch.zeros(1, dtype=torch.long), 1)
        taps = Taps((), (), nowhere.starts, self.decoder.embed.device)
        forward = Forward(self.decoder, geometries(self.decoder, nowhere), None, taps)
        x = last.expand(len(part.arms), *last.shape[1:]).unsqueeze(2)
        return forward, [Start(Entry(self._n_layers), x)]

    def _forward(self, clean: ConeRun, part: Part) -> tuple[Forward, list[Start]]:
        """The forward pass of a part, and where each of its arms starts."""
        window = Window(clean.lengths[part.rows] - part.size, part.size)
        self.most = max(self.most, len(part.arms) * window.starts.shape[-1] * window.size)
        device = self.decoder.embed.device
        taps = Taps(part.edits, part.reads, window.starts, device, clean.tokens.shape[1])
        if isinstance(part.rows, Tensor):  # the lengths stay on the CPU; all else is not there
            part = replace(part, rows=placed(part.rows, device))
        frozen = None
        if part.freeze is not None:
            frozen = FrozenValues(part.freeze, clean.components, clean.last, part.rows, window.size)
        past = Past(clean.keys, clean.values, part.rows, window.left) if window.left else None
        if self.at_once < self._trains_at:  # memory has run out, and copies of matrices are no need
            self._trains_at, self._tail = 0, None
            self._lay_out(None)
        forward = Forward(
            self.decoder, geometries(self.decoder, window), past, taps, frozen, self._tail
        )
        starts, first = [], 0
        for entry, group in groupby(part.entries):
            arms = slice(first, first + len(list(group)))
            starts.append(self._start(forward, clean, part, entry, arms, window))
            first = arms.stop
        return forward, starts

    def _start(
        self,
        forward: Forward,
        clean: ConeRun,
        part: Part,
        entry: Entry,
        arms: slice,
        window: Window,
    ) -> Start:
        def of_arms(kept: Tensor) -> Tensor:
            found = of_rows(kept, part.rows, arms)
            return found.expand(arms.stop - arms.start, *found.shape[1:])

        if entry == Entry(-1):
            own = window if window.starts.dim() == 1 else Window(window.starts[arms], window.size)
            tokens = own.tokens(of_arms(clean.tokens))
            return Start(entry, forward.embed(tokens, own.positions()))
        x, before, neurons = of_arms(clean.stream(entry, window.size)), None, None
        if entry.stage == Stage.MID and self.decoder.blocks[entry.layer].parallel:
            before = of_arms(clean.stream(Entry(entry.layer), window.size))
        if entry.stage == Stage.HIDDEN:
            neurons = of_arms(clean.components.hidden[entry.layer][:, -window.size :])
        return Start(entry, x, before, neurons)

    def _entry(self, site: Site) -> Entry:
        return entry_of(site, self._n_layers)

    def _last_block(self, reads: Sequence[Read]) -> int:
        return last_block((read.site for read in reads), self._n_layers)

    def _lefts(self, edits_at: Sequence[Read]) -> dict[int, int]:
        """How many positions to the left of a tail may be attended to, by layer."""
        lefts: dict[int, int] = {}
        named = {id(read.positions): read.positions for read in edits_at}
        most = {name: int(first_of(positions).max()) for name, positions in named.items()}
        for read in edits_at:
            entry, left = self._entry(read.site), most[id(read.positions)]
            attends = entry.layer + (entry.stage > Stage.INPUT)
            for layer in range(max(attends, 0), self._n_layers):
                lefts[layer] = max(lefts.get(layer, 0), left)
        return lefts

    def _check_length(self, length: int) -> None:
        longest = self.decoder.longest
        if longest is not None and length > longest:
            raise RunFailure(
                f"{self.shapes.name} turns queries and keys otherwise in prompts of more than "
                f"{longest} tokens, and one here has {length}",
                "run with the hooks backend",
            )

    def _on_probe(self, tokens: Tensor) -> Tensor:
        """Logits (2, d_vocab); or (4, d_vocab), with narrowed windows too."""
        found = [logits_of(self, self.clean(CleanPass(tokens)))]
        if self.decoder.window is not None:
            whole, self.decoder = self.decoder, self.decoder.seeing(PROBED_WINDOW)
            found.append(logits_of(self, self.clean(CleanPass(tokens))))
            self.decoder = whole
        return torch.cat(found)

    def _verify(self, wanted: Tensor, tolerance: tuple[dict[torch.dtype, float], float]) -> None:
        if wanted.shape != self.probed.shape:
            raise Unsupported("its attention has windows that ours has not, or the other way round")
        dtype = self.decoder.embed.dtype
        absolute, share = tolerance
        allowed = absolute.get(dtype, share * float(wanted.abs().max()))
        apart = (self.probed - wanted.to(self.probed.device)).abs().amax(1).unflatten(0, (-1, 2))
        if dtype not in absolute and self.decoder.mixed:
            # Rounding sends a token to another expert where two have nearly the same score. One of
            # a probe's two prompts shows that the pass is right.
            apart = apart.amin(1)
        worst = float(apart.max())
        if not worst <= allowed:
            raise Unsupported(
                f"its own forward pass and ours differ by {worst:.2g} in the logits of a probe"
            )


def _window(items: Sequence[Read], lengths: Tensor) -> Window:
    size = size_of(items, lengths)
    return Window(lengths - size, size)


def _losses(targets: Tensor, forward: Forward, starts: list[Start], part: Part) -> Tensor:
    """Cross-entropy (A, n) at the targets."""
    wanted = part.of_arms(targets, 1)
    if forward.taps.touches(LOGITS) or forward.holds_cap:
        logits = _logits(None, forward, starts, part).flatten(0, 1)
        losses = F.cross_entropy(logits, wanted.flatten(), reduction="none")
        return losses.unflatten(0, wanted.shape)
    return forward.losses(starts, wanted)


def _logits(columns: Tensor | None, forward: Forward, starts: list[Start], part: Part) -> Tensor:
    """Logits (A, n, V) or (A, n, c) at the last position."""
    x = forward.run(starts)
    chosen = None if columns is None else part.of_arms(columns, 2)
    if not forward.taps.touches(LOGITS):
        return forward.unembed(x, chosen)
    logits = _edited_logits(forward, x)
    return logits if chosen is None else logits.gather(2, chosen)


def _edited_logits(forward: Forward, x: Tensor) -> Tensor:
    """Logits (A, n, V) at the last position, where logits are edited or read."""
    logits = forward.unembed(x, at_last=False)
    return forward.taps.at(*LOGITS, logits)[:, :, -1]


def _trains(part: Part) -> bool:
    return needs_grad(edit for edits in part.edits for edit in edits)
