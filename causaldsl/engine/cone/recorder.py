"""What a clean run keeps for the edited runs that start from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from causaldsl.engine.cone.frozen import ComponentValues
from causaldsl.engine.cone.norms import Norm
from causaldsl.engine.cone.prefixes import Rows
from causaldsl.engine.cone.taps import LOGITS, Place, Taps
from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.cone.window import Window
from causaldsl.engine.edits import Read
from causaldsl.engine.recorded import RecordedActivations
from causaldsl.engine.transfer import placed
from causaldsl.plan.entries import Entry, Stage


class ConeRun:
    """A clean run: its tokens (n, T) of ``lengths`` (n,), what was recorded, what tails need."""

    def __init__(self, tokens: Tensor, lengths: Tensor, window: Window):
        self.tokens, self.lengths, self.window = tokens, lengths, window
        self.recorded = RecordedActivations()
        self.residual: dict[Entry, Tensor] = {}
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.components = ComponentValues()
        self.last = torch.empty(0)

    def read(self, read: Read) -> Tensor:
        return self.recorded.find(read)

    def stream(self, entry: Entry, size: int) -> Tensor:
        """The residual stream (n, size, d) where a tail starts, over the last positions."""
        if entry not in self.residual:
            raise LookupError(f"the clean run kept nothing to start from at {entry}")
        if size > self.window.size:
            raise LookupError(f"the clean run kept the last {self.window.size} positions only")
        return self.residual[entry][:, self.window.size - size :]


class Recorder(Taps):
    """Keeps what tails will start from and hold, in a clean pass: one arm over whole prompts.

    ``rows`` say where the pass computes their positions.

    With ``frozen`` it also keeps the outputs of all components from the first entry on, and the
    heads' z and the neurons at the layers of entries. ``places`` are what the pass has offered.
    """

    def __init__(
        self,
        decoder: Decoder,
        reads: Sequence[Read],
        entries: set[Entry],
        rows: Rows,
        lefts: dict[int, int],
        frozen: bool,
        longest: int,
    ):
        start = torch.zeros(1, dtype=torch.long)
        reads = [Read(read.site, rows.columns(read.positions)) for read in reads]
        super().__init__([()], reads, start, decoder.embed.device, longest)
        self._decoder, self._rows, self._lefts = decoder, rows, lefts
        self._entries = entries | _before_parallel(decoder, entries)
        self._frozen_from = min(entries).layer if frozen and entries else None
        self._component_layers = {entry.layer for entry in entries}
        self.residual: dict[Entry, Tensor] = {}
        self.keys: dict[int, Tensor] = {}
        self.values_of: dict[int, Tensor] = {}
        self.components = ComponentValues()
        self.last = torch.empty(0)
        self.places: set[Place] = set()

    def at(self, word: str, layer: int, x: Tensor, first: int = 0) -> Tensor:
        self.places.add((word, layer))
        self._see(word, layer, x[0])
        return super().at(word, layer, x, first)

    def offers(self, word: str, layer: int) -> bool:
        self.places.add((word, layer))
        return super().offers(word, layer)

    def heads_out(
        self, layer: int, z: Tensor, W_O: Tensor, attn_out: Tensor, first: int = 0
    ) -> Tensor:
        self.places.add(("head_out", layer))
        return super().heads_out(layer, z, W_O, attn_out, first)

    def stream(self, layer: int, stage: Stage, x: Tensor) -> None:
        for at in (stage, Stage.HIDDEN) if stage == Stage.MID else (stage,):
            self._keep(Entry(layer, at), x[0])

    def normed(self, name: str, layer: int, norm: Norm, x: Tensor) -> None:
        if self._frozen_from is not None and layer >= self._frozen_from:
            self.components.scales[name, layer] = norm.scale(self._cut(x[0]))

    def _see(self, word: str, layer: int, x: Tensor) -> None:
        if word == "mlp_hidden" and Entry(layer, Stage.HIDDEN) in self._entries:
            self.components.hidden[layer] = self._cut(x)
        if self._frozen_from is not None and layer >= self._frozen_from:
            self._keep_to_freeze(word, layer, x)

    def end(self, x: Tensor) -> None:
        """The last block's output (1, n, T, d)."""
        self.places.add(LOGITS)  # made of it, but only where they are edited or read
        (x,) = x
        n_layers = len(self._decoder.blocks)
        self._keep(Entry(n_layers), x)
        self.last = self._rows.last(x)
        if self._decoder.norm is not None:
            self.normed("last", n_layers, self._decoder.norm, x[None])

    def keys_values(self, layer: int, keys: Tensor, values: Tensor) -> None:
        left = self._lefts.get(layer, 0)
        if left:
            self.keys[layer] = self._rows.first(keys[0], left)
            self.values_of[layer] = self._rows.first(values[0], left)

    def _keep_to_freeze(self, word: str, layer: int, x: Tensor) -> None:
        if word == "z" and layer in self._component_layers:
            self.components.z[layer] = self._cut(x.flatten(2))
        elif word == "attn_out":
            self.components.attn_out[layer] = self._cut(x)
        elif word == "mlp_out":
            self.components.mlp_out[layer] = self._cut(x)

    def _keep(self, entry: Entry, x: Tensor) -> None:
        if entry in self._entries:
            self.residual[entry] = self._cut(x)

    def _cut(self, x: Tensor) -> Tensor:
        return self._rows.cut(x)


def _before_parallel(decoder: Decoder, entries: set[Entry]) -> set[Entry]:
    """Behind attention of a parallel block, where a run may start, its MLP reads the block's input
    all the same."""
    return {
        Entry(entry.layer)
        for entry in entries
        if entry.stage == Stage.MID and decoder.blocks[entry.layer].parallel
    }


def join(run: ConeRun, parts: Sequence[Recorder], reads: Sequence[Read], order: Tensor) -> None:
    """Fill a clean run from the recorded parts, whose rows are the run's in ``order``.

    The pieces are freed as they are joined.
    """
    in_order = torch.equal(order, torch.arange(len(order)))
    back = None if in_order else placed(torch.argsort(order), run.tokens.device)

    def joined(tables: list[dict]) -> None:
        target, *pieces = tables
        for key in list(pieces[0]):
            target[key] = _joined([piece.pop(key) for piece in pieces], back)

    joined([run.residual, *(part.residual for part in parts)])
    joined([run.keys, *(part.keys for part in parts)])
    joined([run.values, *(part.values_of for part in parts)])
    for tables in zip(
        run.components.tables(), *(p.components.tables() for p in parts), strict=True
    ):
        joined(list(tables))
    if len(parts[0].last):
        run.last = _in_order([part.last for part in parts], back)
    for read, *values in zip(reads, *(part.values for part in parts), strict=True):
        run.recorded.add(read, _in_order([value[0] for value in values], back))


def _joined(pieces: list[Tensor], back: Tensor | None) -> Tensor:
    longest = max(piece.shape[2] for piece in pieces) if pieces[0].dim() == 4 else 0
    if longest:  # keys and values: shorter prompts have fewer positions to the left
        pieces = [
            torch.nn.functional.pad(piece, (0, 0, 0, longest - piece.shape[2])) for piece in pieces
        ]
    return _in_order(pieces, back)


def _in_order(pieces: list[Tensor], back: Tensor | None) -> Tensor:
    """The pieces as one, its rows put back in their order; a single piece is not copied."""
    whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return whole if back is None else whole[placed(back, whole.device)]
