"""The forward pass of a pre-norm decoder over a window of positions, for many runs at once.

An arm is one run of the same n prompts with edits of its own. A arms go through the blocks as one
tensor x (A, n, S, d); an arm joins at the layer where its first edit is, so that A grows on the way
up and each matrix is used once for all. With P positions to the left, whose keys K_P and values V_P
are known from the clean run, and S positions of our own, for each head of width d_head::

    [a_P, a_S] = softmax(scale * [q K_P^T, mask(q K_S^T)]),   z = a_P V_P + a_S V_S

q is (A, n, S, heads, d_head), own keys and values (A, n, kv_heads, S, d_head), those of the past
(1 or A, n, kv_heads, P, d_head). Query heads that share a key-value head, and arms that share a
past, are stacked along S, so shared keys are never repeated; past and own keys are never copied
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.cone.attention import Past, attend, rotate
from causaldsl.engine.cone.frozen import FrozenValues
from causaldsl.engine.cone.tail import Tail
from causaldsl.engine.cone.taps import Taps
from causaldsl.engine.cone.weights import Decoder, Linear, Norm
from causaldsl.engine.cone.window import Geometry, Window
from causaldsl.engine.transfer import placed
from causaldsl.plan.cones import Entry, Stage


@dataclass(frozen=True, eq=False)
class Start:
    """Arms that start together: the residual stream x (arms, n, S, d) at ``entry``.

    At stage HIDDEN the stream is that of stage MID, and ``neurons`` (arms, n, S, d_mlp) are the
    clean MLP's.
    """

    entry: Entry
    x: Tensor
    neurons: Tensor | None = None


def embed(decoder: Decoder, tokens: Tensor, window: Window, taps: Taps) -> Tensor:
    """Tokens (A, n, S) of a window: the first block's input (A, n, S, d)."""
    x = taps.at("embed", -1, decoder.embed[tokens])
    if decoder.positions is not None:
        x = x + decoder.positions[placed(window.positions(), tokens.device)]
    return x


@dataclass(frozen=True, eq=False)
class Forward:
    """One pass over a window: the model, where the window is, and the taps that edit and read it.

    ``past`` is None when nothing lies to the left. ``frozen`` has the values that a frozen run
    holds. ``tail`` takes over in a training, where only plain blocks are left.
    """

    decoder: Decoder
    geometry: Geometry
    past: Past | None
    taps: Taps
    frozen: FrozenValues | None = None
    tail: Tail | None = None

    def run(self, starts: Sequence[Start], last: int | None = None) -> Tensor:
        """The output (A, n, S, d) of block ``last``, by default the last one of all.

        ``starts`` are in the order of their entries, and the arms in that of the starts.
        """
        taps, waiting, x = self.taps, list(starts), starts[0].x[:0]
        end = len(self.decoder.blocks) if last is None else last + 1
        for layer in range(max(starts[0].entry.layer, 0), end):
            x = self._join_block(x, layer, waiting)
            if not waiting and last is None and self._plain(x, layer):
                assert self.tail is not None
                assert self.past is not None
                return self.tail.run(layer, x, self.past, self.geometry)
            if len(x):
                x = taps.at("resid_pre", layer, x)
                x = x + self._attention(layer, x)
            x = _joined(x, _due(waiting, Entry(layer, Stage.MID)))
            if len(x):
                x = taps.at("resid_mid", layer, x)
            neurons = _due(waiting, Entry(layer, Stage.HIDDEN))
            live, x = len(x), _joined(x, neurons)
            x = x + self._mlp(layer, x, live, neurons)
            x = taps.at("resid_post", layer, x)
        return self._join_block(x, end, waiting)

    def _plain(self, x: Tensor, layer: int) -> bool:
        """Whether a gradient is wanted through untouched blocks at one position."""
        if self.tail is None or layer < self.tail.first or self.past is None:
            return False
        plain = self.frozen is None and not self.taps.touches_from(layer)
        return plain and x.requires_grad and x.shape[2] == 1

    def _join_block(self, x: Tensor, layer: int, waiting: list[Start]) -> Tensor:
        """x and the arms that start at a block's input, which is the output of the block before."""
        due = _due(waiting, Entry(layer))
        if not due:
            return x
        new = _joined(x[:0], due)
        if layer > 0:
            new = self.taps.at("resid_post", layer - 1, new, first=len(x))
        return torch.cat((x, new)) if len(x) else new

    def unembed(self, x: Tensor, columns: Tensor | None = None, at_last: bool = True) -> Tensor:
        """Logits (..., V) of the last block's output; (A, n, c) at the ``columns`` (A, n, c)."""
        return unembed(self.decoder, *self._end(x, at_last), columns)

    def normed(self, x: Tensor) -> Tensor:
        """What the unembedding reads at the last position, (A, n, d)."""
        return _normed(self.decoder.norm, *self._end(x, True))

    def _end(self, x: Tensor, at_last: bool) -> tuple[Tensor, Tensor | None]:
        """The stream at the end, and the scale of the last norm if it is held."""
        scale = self._scale(3, len(self.decoder.blocks), slice(0, len(x)))
        if at_last:
            x, scale = x[:, :, -1], None if scale is None else scale[:, :, -1]
        return x, scale

    def _scale(self, norm: int, layer: int, arms: slice) -> Tensor | None:
        return None if self.frozen is None else self.frozen.scale(norm, layer, arms)

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        """What the attention layer adds to the residual stream."""
        free = self._free_heads(layer)
        if not free:
            return self._frozen_attention(layer, x)
        z = self._heads(layer, x)
        if self.frozen is not None and len(free) < self.decoder.n_heads:
            z = _replaced(self._frozen_z(layer, slice(0, len(x))), z, free)
        return self._out(layer, z)

    def _frozen_attention(self, layer: int, x: Tensor) -> Tensor:
        """With all heads at their clean values, only what is edited or read is computed."""
        assert self.frozen is not None
        clean, taps = self.frozen.attn_out(layer, slice(0, len(x))), self.taps
        arms = taps.arms_at(layer, len(x), "q", "k", "v", "z", "head_out", "attn_out")
        if arms is None:
            return clean
        touched = [word for word in ("q", "k", "v") if taps.touches((word, layer))]
        if touched:
            self._projections(layer, x[arms], touched, arms.start)
        if taps.touches_any(layer, "z", "head_out"):
            out = self._out(layer, self._frozen_z(layer, arms), arms.start)
        else:
            out = taps.at("attn_out", layer, _expanded(clean, arms), arms.start)
        return _among(clean, arms, out, len(x))

    def _frozen_z(self, layer: int, arms: slice) -> Tensor:
        """The clean z (arms, n, S, heads, d_head)."""
        assert self.frozen is not None
        clean = _expanded(self.frozen.z(layer, arms), slice(0, arms.stop - arms.start))
        return clean.unflatten(3, (self.decoder.n_heads, -1))

    def _out(self, layer: int, z: Tensor, first: int = 0) -> Tensor:
        """The attention layer's output, with the edits of z and of what follows."""
        attention, taps = self.decoder.blocks[layer].attention, self.taps
        z = taps.at("z", layer, z, first)
        out = attention.out(z.flatten(3))
        out = taps.heads_out(layer, z, attention.out.weight, out, first)
        return taps.at("attn_out", layer, out, first)

    def _free_heads(self, layer: int) -> list[int]:
        """The heads that are computed; without a freeze, all."""
        heads = range(self.decoder.n_heads)
        if self.frozen is None:
            return list(heads)
        return [head for head in heads if not self.frozen.freeze.holds_head(layer, head)]

    def _heads(self, layer: int, x: Tensor) -> Tensor:
        """z (A, n, S, heads, d_head) of all heads."""
        attention = self.decoder.blocks[layer].attention
        q, k, v = self._projections(layer, x, ("q", "k", "v"))
        if attention.q_norm is not None:
            q = attention.q_norm(q)
        if attention.k_norm is not None:
            k = attention.k_norm(k)
        where = self.geometry.take(len(x))
        if where.rotary is not None:
            q, k = rotate(q, *where.rotary), rotate(k, *where.rotary)
        keys, values = k.transpose(2, 3), v.transpose(2, 3)
        self.taps.keys_values(layer, keys, values)
        past = None
        if self.past is not None:
            past_keys, past_values = self.past(layer)
            past = past_keys[: len(x)], past_values[: len(x)]
        return attend(q, keys, values, past, attention.scale, where)

    def _projections(
        self, layer: int, x: Tensor, words: Sequence[str], first: int = 0
    ) -> list[Tensor]:
        """Queries, keys, values (A, n, S, heads, d_head) of all heads."""
        block, arms = self.decoder.blocks[layer], slice(first, first + len(x))
        normed = _normed(block.norm1, x, self._scale(1, layer, arms))
        by_head = (*x.shape[:3], -1, self.decoder.d_head)
        linears: list[Linear] = [getattr(block.attention, word) for word in words]
        return [
            self.taps.at(word, layer, linear(normed).view(by_head), first)
            for word, linear in zip(words, linears, strict=True)
        ]

    def _mlp(self, layer: int, x: Tensor, live: int, due: list[Start]) -> Tensor:
        """What the MLP adds to the stream; the arms from ``live`` on bring their neurons."""
        mlp, frozen = self.decoder.blocks[layer].mlp, self.frozen
        if frozen is not None and frozen.freeze.holds_mlp(layer):
            return self._frozen_mlp(layer, x)
        brought = [start.neurons for start in due if start.neurons is not None]
        computed = [mlp.hidden(self._mlp_in(layer, x[:live]))] if live else []
        hidden = torch.cat((*computed, *brought)) if brought else computed[0]
        return self._down(layer, hidden)

    def _frozen_mlp(self, layer: int, x: Tensor) -> Tensor:
        """With the MLP at its clean value, only what is edited or read is computed."""
        assert self.frozen is not None
        clean, taps = self.frozen.mlp_out(layer, slice(0, len(x))), self.taps
        arms = taps.arms_at(layer, len(x), "mlp_in", "mlp_hidden", "mlp_out")
        if arms is None:
            return clean
        if taps.touches(("mlp_in", layer)):
            self._mlp_in(layer, x[arms], arms.start)
        if taps.touches(("mlp_hidden", layer)):
            hidden = _expanded(self.frozen.hidden(layer, arms), slice(0, arms.stop - arms.start))
            out = self._down(layer, hidden, arms.start)
        else:
            out = taps.at("mlp_out", layer, _expanded(clean, arms), arms.start)
        return _among(clean, arms, out, len(x))

    def _down(self, layer: int, hidden: Tensor, first: int = 0) -> Tensor:
        hidden = self.taps.at("mlp_hidden", layer, hidden, first)
        return self.taps.at("mlp_out", layer, self.decoder.blocks[layer].mlp.down(hidden), first)

    def _mlp_in(self, layer: int, x: Tensor, first: int = 0) -> Tensor:
        scale = self._scale(2, layer, slice(first, first + len(x)))
        normed = _normed(self.decoder.blocks[layer].norm2, x, scale)
        return self.taps.at("mlp_in", layer, normed, first)


def _due(waiting: list[Start], entry: Entry) -> list[Start]:
    """The starts at this entry, no longer waiting; those before the first block are at block 0."""
    due = []
    while waiting and max(waiting[0].entry, Entry(0)) == entry:
        due.append(waiting.pop(0))
    return due


def _joined(x: Tensor, due: Sequence[Start]) -> Tensor:
    pieces = [x] if len(x) else []
    pieces += [start.x for start in due]
    return x if not pieces else pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _expanded(clean: Tensor, arms: slice) -> Tensor:
    """Clean values (1 or A, ...) for each of some arms."""
    if len(clean) > 1:
        return clean[arms]
    return clean.expand(arms.stop - arms.start, *clean.shape[1:])


def _among(clean: Tensor, arms: slice, changed: Tensor, count: int) -> Tensor:
    """The clean values for all arms but some."""
    if len(changed) == count:
        return changed
    before, after = slice(0, arms.start), slice(arms.stop, count)
    return torch.cat((_expanded(clean, before), changed, _expanded(clean, after)))


def unembed(
    decoder: Decoder, x: Tensor, scale: Tensor | None = None, columns: Tensor | None = None
) -> Tensor:
    """Logits (..., V) of the stream x (..., d); of x (..., n, d), (..., n, c) at ``columns``.

    ``columns`` (n, c) or (A, n, c) are entries of the vocabulary, ``scale`` is that of the last
    norm, if it is held.
    """
    head, normed = decoder.unembed, _normed(decoder.norm, x, scale)
    if columns is None:
        return head(normed)
    logits = (head.weight[columns] @ normed.unsqueeze(-1)).squeeze(-1)
    return logits if head.bias is None else logits + head.bias[columns]


def _normed(norm: Norm, x: Tensor, scale: Tensor | None) -> Tensor:
    return norm(x) if scale is None else norm.scaled(x, scale)


def _replaced(clean: Tensor, z: Tensor, heads: list[int]) -> Tensor:
    out = clean.clone()
    out[..., heads, :] = z[..., heads, :]
    return out
