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
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.cone.decoder import Pass, Past, embed, unembed
from causaldsl.engine.cone.held import Held
from causaldsl.engine.cone.probe import Probe
from causaldsl.engine.cone.recorder import ConeRun, Recorder, join
from causaldsl.engine.cone.weights import Decoder, Unsupported, read_decoder
from causaldsl.engine.cone.window import Window, geometry
from causaldsl.engine.edits import Edit, Freeze, Read
from causaldsl.engine.exact import exact
from causaldsl.engine.kept import needs_grad
from causaldsl.model.shapes import Shapes
from causaldsl.model.sites import Site
from causaldsl.plan.cones import Entry, Stage, entry_of, last_block

_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
_LOGITS = ("logits", -1)


@dataclass(frozen=True, eq=False)
class _Part:
    """Some prompts of an edited run, and what concerns them."""

    rows: slice | Tensor
    edits: list[Edit]
    reads: list[Read]
    columns: Tensor | None


class ConeBackend:
    """Runs a Hugging Face decoder through our own forward pass.

    Raises :class:`Unsupported` for an architecture we have no forward pass for, or when ours does
    not give the module's own logits on a probe. ``tokens_at_once`` bounds the positions computed
    together. ``reference`` maps tokens (n, T) to logits (n, T, V); by default the module itself.
    """

    name = "cone"
    ragged = True

    def __init__(
        self,
        module: nn.Module,
        shapes: Shapes,
        tokens_at_once: int = 1024,
        reference: Callable[[Tensor], Tensor] | None = None,
    ):
        self.decoder: Decoder = read_decoder(module)
        self.shapes, self.tokens_at_once = shapes, tokens_at_once
        self._n_layers = len(self.decoder.blocks)
        self._verify(reference or (lambda tokens: cast(Tensor, module(tokens).logits)))

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
            x = embed(self.decoder, tokens[part, :width], all_of_it, recorder)
            forward = Pass(self.decoder, geometry(self.decoder, all_of_it), None, recorder)
            last = self._last_block(reads)
            if not whole and not edits_at and last < self._n_layers:
                forward.run(x, Entry(-1), last=last)
                recorders.append(recorder)
                continue
            x = forward.run(x, Entry(-1))
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
        if not edits:
            if not len(clean.last):
                raise LookupError("this clean run stopped before the logits")
            last = clean.last if rows is None else clean.last[rows]
            return unembed(self.decoder, last, columns)
        parts = [
            self._tail(clean, part, freeze)[0]
            for part in self._parts(clean, edits, (), rows, columns)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def record(
        self,
        clean: ConeRun,
        edits: Sequence[Edit],
        reads: Sequence[Read],
        rows: Tensor | None = None,
        freeze: Freeze | None = None,
    ) -> list[Tensor]:
        """The activations of ``reads`` with all ``edits`` in force, each (n, k, d).

        Like the edits, the reads are already cut to ``rows``; and like them they were announced to
        ``clean`` as ``edits_at``.
        """
        last = self._last_block(reads)
        parts = [
            self._tail(clean, part, freeze, last)[1]
            for part in self._parts(clean, edits, reads, rows, None)
        ]
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _parts(
        self,
        clean: ConeRun,
        edits: Sequence[Edit],
        reads: Sequence[Read],
        rows: Tensor | None,
        columns: Tensor | None,
    ) -> Iterator[_Part]:
        """Few enough prompts at a time."""
        lengths = clean.lengths if rows is None else clean.lengths[rows]
        at_once = max(1, self.tokens_at_once // max(1, _size([*edits, *reads], lengths)))
        for begin in range(0, len(lengths), at_once):
            part = slice(begin, begin + at_once)
            yield _Part(
                part if rows is None else rows[part],
                [edit.take(part) for edit in edits],
                [Read(read.site, read.positions[part]) for read in reads],
                None if columns is None else columns[part],
            )

    def _tail(
        self, clean: ConeRun, part: _Part, freeze: Freeze | None, last: int | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits at the last position and the reads, with the edits in force.

        With ``last``, only the reads are wanted, and no block above it is computed.
        """
        items: list[Edit | Read] = [*part.edits, *part.reads]
        lengths, entry = clean.lengths[part.rows], min(self._entry(item.site) for item in items)
        window = _window(items, lengths)
        wanted = [*(e.value for e in part.edits), *(e.basis for e in part.edits)]
        with torch.set_grad_enabled(needs_grad(*wanted)):
            probe = Probe(part.edits, part.reads, window.starts)
            forward = self._pass_over(clean, part, window, probe, freeze)
            neurons = None
            if entry == Entry(-1):
                x = embed(self.decoder, window.of(clean.tokens[part.rows]), window, probe)
            else:
                x = clean.stream(entry, window.size)[part.rows]
            if entry.stage == Stage.HIDDEN:
                neurons = clean.outputs.hidden[entry.layer][part.rows, -window.size :]
            if last is not None and last < self._n_layers:  # the logits are not among the reads
                forward.run(x, entry, neurons, last)
                return torch.empty(0), probe.values
            x = forward.run(x, entry, neurons)
            if probe.touches(_LOGITS):
                logits = probe.at(*_LOGITS, forward.unembed(x, at_last=False))[:, -1]
                chosen = logits if part.columns is None else logits.gather(1, part.columns)
                return chosen, probe.values
            return forward.unembed(x, part.columns), probe.values

    def _pass_over(
        self, clean: ConeRun, part: _Part, window: Window, probe: Probe, freeze: Freeze | None
    ) -> Pass:
        held = None
        if freeze is not None:
            freeze = freeze.freeing([edit.site for edit in part.edits], self.shapes)
            held = Held(freeze, clean.outputs, part.rows, window.size)
        past = _past(clean, part.rows, window.left) if window.left else None
        return Pass(self.decoder, geometry(self.decoder, window), past, probe, held)

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

    def _verify(self, reference: Callable[[Tensor], Tensor]) -> None:
        weight = self.decoder.embed
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(len(weight), (2, 7), generator=generator).to(weight.device)
        with torch.no_grad(), exact(weight.dtype):
            wanted = reference(tokens)[:, -1]
        worst = float((self.logits(self.clean(tokens)) - wanted).abs().max())
        # In half precision there is nothing to go by but the size of the logits.
        tolerance = _TOLERANCE.get(weight.dtype, 0.05 * float(wanted.abs().max()))
        if not worst <= tolerance:
            raise Unsupported(
                f"its own forward pass and ours differ by {worst:.2g} in the logits of a probe"
            )


def _size(items: Sequence[Edit | Read], lengths: Tensor) -> int:
    """How many positions, counted from the prompts' ends, hold all items; at least the last."""
    return max((int((lengths - i.positions.min(1).values).max()) for i in items), default=1)


def _window(items: Sequence[Edit | Read], lengths: Tensor) -> Window:
    size = _size(items, lengths)
    return Window(lengths - size, size)


def _past(clean: ConeRun, rows: slice | Tensor, left: int) -> Past:
    def past(layer: int) -> tuple[Tensor, Tensor]:
        kept = clean.keys.get(layer)
        if kept is None or kept.shape[2] < left:
            raise LookupError(f"the clean run kept too few keys of layer {layer}")
        return kept[rows, :, :left], clean.values[layer][rows, :, :left]

    return past
