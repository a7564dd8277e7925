"""Writing on the cone: whole prompts once, then a single position for every new token.

Keys and values (A, n, kv_heads, T, d_head) of all tokens so far are kept by layer, each at its own
index from the prompt's beginning. Prompts go together whatever their lengths: in the first pass
they end in the same column, and a later one attends to no index that its own prompt has not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.engine.backend import Edits
from causaldsl.engine.cone.decoder import Forward, Start
from causaldsl.engine.cone.taps import LOGITS, Taps
from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.cone.window import Window, geometries
from causaldsl.engine.transfer import placed
from causaldsl.plan.entries import Entry


class _Keeping(Taps):
    """Taps that keep the keys and values of a pass, by layer."""

    def __init__(self, edits: Edits, starts: Tensor, device: torch.device, longest: int):
        super().__init__(edits, (), starts, device, longest)
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def keys_values(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self.kept[layer] = keys, values


class ConeWriter:
    """Prompts (n, T) of ``lengths`` (n,), padded on the right; ``room`` new tokens at most."""

    def __init__(self, decoder: Decoder, tokens: Tensor, lengths: Tensor, room: int):
        self.decoder, self.tokens, self.lengths, self.room = decoder, tokens, lengths, room
        self._done = 0
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}

    @torch.no_grad()
    def begin(self, edits: Edits) -> Tensor:
        size = self.tokens.shape[1]
        window = Window(self.lengths - size, size)
        tokens = window.tokens(self.tokens[None]).expand(len(edits), -1, -1)
        return self._pass(window, tokens, edits)

    @torch.no_grad()
    def go_on(self, tokens: Tensor, edits: Edits) -> Tensor:
        window = Window(self.lengths + self._done, 1)
        self._done += 1
        return self._pass(window, placed(tokens, self.tokens.device)[..., None], edits)

    def _pass(self, window: Window, tokens: Tensor, edits: Edits) -> Tensor:
        """Logits (A, n, V) behind a window of tokens (A, n, S), whose keys and values are kept."""
        left, decoder = window.left, self.decoder
        taps = _Keeping(edits, window.starts, self.tokens.device, left + window.size)

        def past(layer: int) -> tuple[Tensor, Tensor]:
            return self._keys[layer][..., :left, :], self._values[layer][..., :left, :]

        forward = Forward(decoder, geometries(decoder, window), past if left else None, taps)  # type: ignore[arg-type]
        x = forward.run([Start(Entry(-1), forward.embed(tokens, window.positions()))])
        for layer, (keys, values) in taps.kept.items():
            self._keep(self._keys, layer, keys, window)
            self._keep(self._values, layer, values, window)
        if taps.touches(LOGITS):
            return taps.at(*LOGITS, forward.unembed(x, at_last=False))[:, :, -1]
        return forward.unembed(x)

    def _keep(self, tables: dict[int, Tensor], layer: int, new: Tensor, window: Window) -> None:
        """Put what is by column (A, n, kv_heads, S, d_head) where its token index is."""
        if layer not in tables:
            arms, n, heads, size, width = new.shape
            tables[layer] = new.new_zeros(arms, n, heads, size + self.room, width)
        table = tables[layer]
        if window.even is not None:
            table[..., window.even : window.even + window.size, :] = new
            return
        if window.size == 1:
            rows = torch.arange(len(window.starts), device=new.device)
            table[:, rows, :, placed(window.starts, new.device)] = new[..., 0, :].transpose(0, 1)
            return
        # A token's column is its index less where its row begins; behind its end there is junk.
        columns = torch.arange(window.size) - window.starts[:, None]
        index = placed(columns.clamp(0, window.size - 1), new.device)[None, :, None, :, None]
        table[..., : window.size, :] = new.gather(3, index.expand_as(new))
