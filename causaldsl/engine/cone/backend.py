"""The default backend: compute only what an edit can change.

An edit at layer l and position p changes nothing below l and nothing left of p. So a clean run
keeps, for the places where edits will enter (n prompts, a window of their last S positions)::

    residual[entry]          (n, S, d)                    the stream where a tail starts
    neurons[layer]           (n, S, d_mlp)                if it starts at an MLP's neurons
    keys, values[layer]      (n, kv_heads, P, d_head)     of later layers, left of the edits
    outputs                  (n, S, d) each               what frozen runs hold (cone/held.py)

and an edited run computes the blocks from the entry up, on its window, then the unembedding at the
last position. For an edit at the last of 20 tokens that is one token through the upper blocks,
forward and backward. Prompts of different lengths go together, aligned at their ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.checkpoint import Checkpoint
from causaldsl.engine.cone.attention import Past
from causaldsl.engine.cone.decoder import Pass, Start, embed
from causaldsl.engine.cone.families import Unsupported, read_decoder
from causaldsl.engine.cone.heap import kept_heap
from causaldsl.engine.cone.held import Held, of_rows
from causaldsl.engine.cone.loss import cross_entropy
from causaldsl.engine.cone.packing import STEPS, Packing
from causaldsl.engine.cone.passes import Part, parts, put_together, size_of
from causaldsl.engine.cone.probe import Probe
from causaldsl.engine.cone.recorder import ConeRun, Recorder, join
from causaldsl.engine.cone.tail import Tail
from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.cone.window import Window, geometry
from causaldsl.engine.edits import Edit, Freeze, Read
from causaldsl.engine.kept import needs_grad
from causaldsl.engine.reference import answers_of, probe_tokens
from causaldsl.model.shapes import Shapes
from causaldsl.model.sites import Site
from causaldsl.plan.cones import Entry, Stage, entry_of, last_block

_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}, 0.05
_SAME = {torch.float64: 1e-10, torch.float32: 2e-4}, 0.01
"""How far our logits on the probe may lie from the module's, and from ours in another run. In half
precision there is nothing to go by but the size of the logits: what part of it that is."""
_LOGITS = ("logits", -1)


class ConeBackend:
    """Runs a Hugging Face decoder through our own forward pass.

    Raises :class:`Unsupported` for an architecture we have no forward pass for, or when ours does
    not give the module's own logits on a probe (``reference.py``; ``wanted`` are given in their
    place). ``tokens_at_once`` bounds the positions computed together.
    """

    name = "cone"
    ragged = True

    def __init__(
        self,
        source: nn.Module | Checkpoint,
        shapes: Shapes,
        tokens_at_once: int = 1024,
        wanted: Tensor | None = None,
    ):
        self.decoder: Decoder = read_decoder(source)
        self.shapes, self.tokens_at_once = shapes, tokens_at_once
        self._n_layers = len(self.decoder.blocks)
        self._tail: Tail | None = None
        weight = self.decoder.embed
        self.probed = self.logits(self.clean(probe_tokens(len(weight), weight.device)))
        if isinstance(source, Checkpoint):
            self.answers = source.module.answers
            self._verify(source.module.ours, _SAME)
        else:
            self.answers = answers_of(source, weight) if wanted is None else wanted
        self._verify(self.answers, _TOLERANCE)

    def serves(self, site: Site) -> bool:
        return site.kind != "hook"

    @torch.no_grad()
    def clean(
        self,
        tokens: Tensor,
        reads: Sequence[Read] = (),
        edits_at: Sequence[Read] = (),
        lengths: Tensor | None = None,
        frozen: bool = False,
        whole: bool = True,
    ) -> ConeRun:
        n, longest = tokens.shape
        lengths = torch.full((n,), longest) if lengths is None else lengths.cpu()
        self._check_length(longest)
        window = _window(edits_at, lengths)
        run = ConeRun(tokens, lengths, window)
        entries = {self._entry(read.site) for read in edits_at}
        lefts = self._lefts(edits_at)
        order = torch.argsort(lengths, stable=True)
        recorders = []
        for part in order.split(max(1, self.tokens_at_once // longest)):
            local = [Read(read.site, read.positions[part]) for read in reads]
            recorder = Recorder(self.decoder, local, entries, window.take(part), lefts, frozen)
            # Positions behind a shorter prompt's end are computed, and seen by none of its own.
            width = int(lengths[part].max())
            all_of_it = Window(torch.zeros(len(part), dtype=torch.long), width)
            x = embed(self.decoder, tokens[part, :width][None], all_of_it, recorder)
            forward = Pass(self.decoder, geometry(self.decoder, all_of_it), None, recorder)
            last = self._last_block(reads)
            starts = [Start(Entry(-1), x)]
            if not whole and not edits_at and last < self._n_layers:
                forward.run(starts, last)
                recorders.append(recorder)
                continue
            x = forward.run(starts)
            recorder.end(x, lengths[part])
            if recorder.touches(_LOGITS):
                recorder.at(*_LOGITS, forward.unembed(x, at_last=False))
            recorders.append(recorder)
        join(run, recorders, reads, order)
        return run

    def logits(
        self,
        clean: ConeRun,
        edits: Sequence[Edit] = (),
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        return self.logits_of_arms(clean, [edits], rows, columns, freeze)[0]

    def record(
        self,
        clean: ConeRun,
        edits: Sequence[Edit],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        return [value[0] for value in self.record_of_arms(clean, [edits], reads, rows, freeze)]

    def logits_of_arms(
        self,
        clean: ConeRun,
        arms: Sequence[Sequence[Edit]],
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> Tensor:
        def end(forward: Pass, x: Tensor, part: Part) -> Tensor:
            chosen = None if columns is None else part.of_arms(columns, 2)
            if not forward.probe.touches(_LOGITS):
                return forward.unembed(x, chosen)
            logits = _edited_logits(forward, x)
            return logits if chosen is None else logits.gather(2, chosen)

        return self._ends(clean, arms, rows, freeze, end)

    def losses_of_arms(
        self,
        clean: ConeRun,
        arms: Sequence[Sequence[Edit]],
        targets: Tensor,
        rows: Tensor | None = None,
    ) -> Tensor:
        def end(forward: Pass, x: Tensor, part: Part) -> Tensor:
            wanted = part.of_arms(targets, 1).flatten()
            if forward.probe.touches(_LOGITS):
                logits = _edited_logits(forward, x).flatten(0, 1)
                losses = F.cross_entropy(logits, wanted, reduction="none")
            else:
                normed = forward.normed(x).flatten(0, 1)
                losses = cross_entropy(normed, wanted, self.decoder.unembed)
            return losses.unflatten(0, (len(x), -1))

        return self._ends(clean, arms, rows, None, end)

    def _ends(
        self,
        clean: ConeRun,
        arms: Sequence[Sequence[Edit]],
        rows: Tensor | None,
        freeze: Freeze | None,
        end: Callable[[Pass, Tensor, Part], Tensor],
    ) -> Tensor:
        """What ``end`` makes of the last block's output: (arms, n, ...)."""
        found = []
        for part in self._parts(clean, arms, (), rows, freeze):
            with torch.set_grad_enabled(_trains(part.edits)):
                if any(part.edits):
                    forward, starts = self._forward(clean, part)
                    found.append((part, end(forward, forward.run(starts), part)))
                else:
                    found.append((part, end(*self._unchanged(clean, part), part)))
        return put_together(found, len(arms))

    def record_of_arms(
        self,
        clean: ConeRun,
        arms: Sequence[Sequence[Edit]],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        """Like the edits, the reads are already cut to ``rows``; and like them they were announced
        to ``clean`` as ``edits_at``."""
        last = self._last_block(reads)
        found: list[list[tuple[Part, Tensor]]] = [[] for _ in reads]
        for part in self._parts(clean, arms, reads, rows, freeze):
            with torch.set_grad_enabled(_trains(part.edits)):
                forward, starts = self._forward(clean, part)
                if last < self._n_layers:
                    forward.run(starts, last)
                else:
                    _edited_logits(forward, forward.run(starts))
                for index, value in enumerate(forward.probe.values):
                    found[index].append((part, value))
        return [put_together(values, len(arms)) for values in found]

    @contextmanager
    def training(self, steps: int, memory: int | None = None) -> Iterator[None]:
        """For so many steps with the same rows: matrices are laid out for them (``packing.py``)."""
        packing = Packing(memory) if steps >= STEPS else None
        for linear in self.decoder.linears():
            linear.pack(packing)
        if packing is not None and Tail.serves(self.decoder):
            self._tail = Tail(self.decoder, packing)
        try:
            with kept_heap() if self.decoder.embed.device.type == "cpu" else nullcontext():
                yield
        finally:
            self._tail = None
            for linear in self.decoder.linears():
                linear.pack(None)

    def _parts(
        self,
        clean: ConeRun,
        arms: Sequence[Sequence[Edit]],
        reads: Sequence[Read],
        rows: Tensor | None,
        freeze: Freeze | None,
    ) -> Iterator[Part]:
        lengths = clean.lengths if rows is None else clean.lengths[rows]
        return parts(arms, reads, lengths, rows, freeze, self.shapes, self.tokens_at_once)

    def _unchanged(self, clean: ConeRun, part: Part) -> tuple[Pass, Tensor]:
        """Nothing to run: the clean end (A, n, 1, d)."""
        if not len(clean.last):
            raise LookupError("this clean run stopped before the logits")
        last = of_rows(clean.last, part.rows, slice(None))
        nowhere = Window(torch.zeros(1, dtype=torch.long), 1)
        probe = Probe((), (), nowhere.starts)
        forward = Pass(self.decoder, geometry(self.decoder, nowhere), None, probe)
        return forward, last.expand(len(part.arms), *last.shape[1:]).unsqueeze(2)

    def _forward(self, clean: ConeRun, part: Part) -> tuple[Pass, list[Start]]:
        """The pass of some arms over some prompts, and where each of its arms starts."""
        window = Window(clean.lengths[part.rows] - part.size, part.size)
        probe = Probe(part.edits, part.reads, window.starts)
        held = None
        if part.freeze is not None:
            held = Held(part.freeze, clean.outputs, part.rows, window.size)
        past = _past(clean, part.rows, window.left) if window.left else None
        forward = Pass(self.decoder, geometry(self.decoder, window), past, probe, held, self._tail)
        starts, first = [], 0
        for entry, group in groupby(part.entries):
            arms = slice(first, first + len(list(group)))
            starts.append(self._start(clean, part, entry, arms, window, probe))
            first = arms.stop
        return forward, starts

    def _start(
        self, clean: ConeRun, part: Part, entry: Entry, arms: slice, window: Window, probe: Probe
    ) -> Start:
        def of_arms(kept: Tensor) -> Tensor:
            found = of_rows(kept, part.rows, arms)
            return found.expand(arms.stop - arms.start, *found.shape[1:])

        if entry == Entry(-1):
            own = window if window.starts.dim() == 1 else Window(window.starts[arms], window.size)
            tokens = own.tokens(of_arms(clean.tokens))
            return Start(entry, embed(self.decoder, tokens, own, probe))
        x = of_arms(clean.stream(entry, window.size))
        neurons = None
        if entry.stage == Stage.HIDDEN:
            neurons = of_arms(clean.outputs.hidden[entry.layer][:, -window.size :])
        return Start(entry, x, neurons)

    def _entry(self, site: Site) -> Entry:
        return entry_of(site, self._n_layers)

    def _last_block(self, reads: Sequence[Read]) -> int:
        return last_block((read.site for read in reads), self._n_layers)

    def _lefts(self, edits_at: Sequence[Read]) -> dict[int, int]:
        """For each layer, how many positions a tail may find to its left there."""
        lefts: dict[int, int] = {}
        for read in edits_at:
            entry = self._entry(read.site)
            left = int(read.positions.min(1).values.max())
            attends = entry.layer + (entry.stage > Stage.INPUT)
            for layer in range(max(attends, 0), self._n_layers):
                lefts[layer] = max(lefts.get(layer, 0), left)
        return lefts

    def _check_length(self, length: int) -> None:
        window = self.decoder.window
        if window is not None and length > window:
            raise RunFailure(
                f"{self.shapes.name} attends to the last {window} tokens only, of {length} here",
                "run with the hooks backend",
            )

    def _verify(self, wanted: Tensor, tolerance: tuple[dict[torch.dtype, float], float]) -> None:
        worst = float((self.probed - wanted.to(self.probed.device)).abs().max())
        absolute, share = tolerance
        allowed = absolute.get(self.decoder.embed.dtype, share * float(wanted.abs().max()))
        if not worst <= allowed:
            raise Unsupported(
                f"its own forward pass and ours differ by {worst:.2g} in the logits of a probe"
            )


def _window(items: Sequence[Read], lengths: Tensor) -> Window:
    size = size_of(items, lengths)
    return Window(lengths - size, size)


def _past(clean: ConeRun, rows: slice | Tensor, left: int) -> Past:
    def past(layer: int) -> tuple[Tensor, Tensor]:
        kept = clean.keys.get(layer)
        if kept is None or kept.shape[2] < left:
            raise LookupError(f"the clean run kept too few keys of layer {layer}")
        tables = (kept[:, :, :left], clean.values[layer][:, :, :left])
        keys, values = (of_rows(table, rows, slice(None)) for table in tables)
        return keys, values

    return past


def _edited_logits(forward: Pass, x: Tensor) -> Tensor:
    """Logits (A, n, V) at the last position, where logits are edited or read."""
    logits = forward.unembed(x, at_last=False)
    return forward.probe.at(*_LOGITS, logits)[:, :, -1]


def _trains(arms: Sequence[Sequence[Edit]]) -> bool:
    return needs_grad(*(x for edits in arms for e in edits for x in (e.value, e.basis)))
