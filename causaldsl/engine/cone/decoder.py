"""The forward pass of a decoder over a window of positions, for many runs at once.

An arm is one run of the same n prompts with edits of its own. A arms go through the blocks as one
tensor x (A, n, S, d); an arm joins at the layer where its first edit is, so that A grows on the way
up and each matrix is used once for all. With P positions to the left, whose keys K_P and values V_P
are known from the clean run, and S positions of our own, for each head of width d_head::

    [a_P, a_S] = softmax(scale * [mask(q K_P^T), mask(q K_S^T)]),   z = a_P V_P + a_S V_S

q is (A, n, S, heads, d_head), own keys and values (A, n, kv_heads, S, d_head), those of the past
(1 or A, n, kv_heads, P, d_head). Query heads that share a key-value head, and arms that share a
past, are stacked along S, so shared keys are never repeated; past and own keys are never copied
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from causaldsl.engine.cone.attention import Past, attend
from causaldsl.engine.cone.frozen import FrozenValues
from causaldsl.engine.cone.loss import cross_entropy
from causaldsl.engine.cone.mlp import MLP, Experts
from causaldsl.engine.cone.norms import Norm
from causaldsl.engine.cone.prefixes import SharedAttention
from causaldsl.engine.cone.replay import Inputs
from causaldsl.engine.cone.tail import Tail
from causaldsl.engine.cone.taps import Taps
from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.cone.window import Geometry
from causaldsl.engine.transfer import placed
from causaldsl.engine.upcast import upcast
from causaldsl.plan.entries import Entry, Stage


@dataclass(frozen=True, eq=False)
class Start:
    """Arms that start together: the residual stream x (arms, n, S, d) at ``entry``.

    At stage MID of a parallel block ``before`` is the block's input, which its MLP reads. At stage
    HIDDEN the stream is that of stage MID, and ``neurons`` (arms, n, S, d_mlp) are the clean MLP's.
    """

    entry: Entry
    x: Tensor
    before: Tensor | None = None
    neurons: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Forward:
    """One pass over a window: the model, where the window is, and the taps that edit and read it.

    ``geometries`` are those of the decoder's kinds of layers. ``past`` is None when nothing lies to
    the left. ``frozen`` has the values that a frozen run holds. ``tail`` takes over in a training,
    where only plain blocks are left.
    """

    decoder: Decoder
    geometries: Sequence[Geometry]
    past: Past | None
    taps: Taps
    frozen: FrozenValues | None = None
    tail: Tail | None = None
    shared: SharedAttention | None = None

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens (A, n, S) at ``positions`` (n or 1, S): the first block's input (A, n, S, d)."""
        decoder = self.decoder
        x = self.taps.at("embed", -1, decoder.embed[tokens])
        if decoder.embed_scale is not None:
            x = x * decoder.embed_scale
        if decoder.project_in is not None:
            x = decoder.project_in(x)
        x = self._norm("embed", -1, decoder.embed_norm, x)
        if decoder.positions is not None:
            x = x + decoder.positions[placed(positions, tokens.device)]
        return x

    def run(self, starts: Sequence[Start], last: int | None = None) -> Tensor:
        """The output (A, n, S, d) of block ``last``, by default the last one of all.

        ``starts`` are in the order of their entries, and the arms in that of the starts.
        """
        x, layer = self._until_plain(starts, last)
        return x if layer is None else self._rest().run(self._inputs(x, layer))

    def losses(self, starts: Sequence[Start], targets: Tensor) -> Tensor:
        """Cross-entropy (A, n) of the last position's logits, at the ``targets`` (A, n)."""
        x, layer = self._until_plain(starts)
        if layer is not None:
            tail, inputs = self._rest(), self._inputs(x, layer)
            if tail.ends is not None:
                return tail.losses(replace(inputs, targets=targets))
            x = tail.run(inputs)
        found = cross_entropy(self.normed(x).flatten(0, 1), targets.flatten(), self.decoder.unembed)
        return found.unflatten(0, targets.shape)

    def _until_plain(
        self, starts: Sequence[Start], last: int | None = None
    ) -> tuple[Tensor, int | None]:
        """The input of the first block that is left to the tail; or the output of the last one."""
        waiting, x = list(starts), starts[0].x[:0]
        end = len(self.decoder.blocks) if last is None else last + 1
        for layer in range(max(starts[0].entry.layer, 0), end):
            x = self._join_block(x, layer, waiting)
            if not waiting and last is None and self._plain(x, layer):
                return x, layer
            x = self._block(layer, x, waiting)
        return self._join_block(x, end, waiting), None

    def _rest(self) -> Tail:
        assert self.tail is not None
        return self.tail

    def _inputs(self, x: Tensor, layer: int) -> Inputs:
        assert self.past is not None
        return Inputs(layer, x.squeeze(2), self.past, self.geometries)

    def _block(self, layer: int, x: Tensor, waiting: list[Start]) -> Tensor:
        """A block's output, for the arms that are under way and those that start inside it."""
        taps, block = self.taps, self.decoder.blocks[layer]
        before = x
        if len(x):
            before = x = taps.at("resid_pre", layer, x)
            taps.stream(layer, Stage.INPUT, x)
            x = self._norm("stream1", layer, block.stream1, x + self._attention(layer, x))
            taps.stream(layer, Stage.MID, x)
        middle = _due(waiting, Entry(layer, Stage.MID))
        x = _joined(x, [start.x for start in middle])
        if block.parallel:
            before = _joined(before, [start.before for start in middle if start.before is not None])
        else:
            before = x = taps.at("resid_mid", layer, x) if len(x) else x
        inside = _due(waiting, Entry(layer, Stage.HIDDEN))
        x = _joined(x, [start.x for start in inside])
        x = x + self._mlp(layer, before, len(x), inside)
        x = self._norm("stream2", layer, block.stream2, x)
        return taps.at("resid_post", layer, x)

    def _plain(self, x: Tensor, layer: int) -> bool:
        """Whether a gradient is wanted through untouched blocks at one position."""
        if self.tail is None or layer < self.tail.first or self.past is None:
            return False
        plain = self.frozen is None and not self.taps.touches_from(layer)
        return plain and x.requires_grad and x.shape[2] == 1

    def _join_block(self, x: Tensor, layer: int, waiting: list[Start]) -> Tensor:
        """x and the arms that start at a block's input, which is the output of the block before."""
        device = self.decoder.device(layer)
        x, due = placed(x, device), _due(waiting, Entry(layer))
        if not due:
            return x
        new = _joined(x[:0], [placed(start.x, device) for start in due])
        if layer > 0:
            new = self.taps.at("resid_post", layer - 1, new, first=len(x))
        return torch.cat((x, new)) if len(x) else new

    def unembed(self, x: Tensor, columns: Tensor | None = None, at_last: bool = True) -> Tensor:
        """Logits (..., V) of the last block's output; (A, n, c) at the ``columns`` (A, n, c)."""
        normed, head = self.normed(x, at_last), self.decoder.unembed
        if not self.holds_cap:
            return head(normed, columns)
        assert self.frozen is not None
        # Its own scale is the one that is held.
        clean, norm = self.frozen.last(), self.decoder.norm
        clean = upcast(clean) if norm is None else norm(clean)
        return head.held(normed, clean if at_last else clean.unsqueeze(2), columns)

    @property
    def holds_cap(self) -> bool:
        """Whether logits are shrunk as in the clean run, in place of being capped."""
        held = self.frozen is not None and self.frozen.freeze.norms
        return held and self.decoder.unembed.softcap is not None

    def normed(self, x: Tensor, at_last: bool = True) -> Tensor:
        """What the unembedding reads, (A, n, S, d); (A, n, d) at the last position."""
        norm, scale = self.decoder.norm, None
        if norm is not None:
            scale = self._held("last", len(self.decoder.blocks), slice(0, len(x)))
        if at_last:
            x, scale = x[:, :, -1], None if scale is None else scale[:, :, -1]
        if norm is None:
            return upcast(x)
        return norm(x) if scale is None else norm.scaled(x, scale)

    def _held(self, norm: str, layer: int, arms: slice) -> Tensor | None:
        """A norm's clean scale, if this run holds it."""
        if self.frozen is None or not self.frozen.freeze.norms:
            return None
        return self.frozen.scale(norm, layer, arms)

    def _norm(self, name: str, layer: int, norm: Norm | None, x: Tensor, first: int = 0) -> Tensor:
        """A norm (None leaves x as it is) of the arms from ``first`` on."""
        if norm is None:
            return x
        held = self._held(name, layer, slice(first, first + len(x)))
        if held is not None:
            return norm.scaled(x, held)
        self.taps.normed(name, layer, norm, x)
        return norm(x)

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        """What the attention layer adds to the residual stream."""
        free = self._free_heads(layer)
        if not free and not self.taps.touches(("pattern", layer)):
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
        """What z makes attention add, with the edits of z and of what follows."""
        block, taps = self.decoder.blocks[layer], self.taps
        z, matrix = taps.at("z", layer, z, first), block.attention.out
        out = taps.heads_out(layer, z, matrix.weight, matrix(z.flatten(3)), first)
        out = self._norm("post1", layer, block.post1, out, first)
        return self._added("attn_out", layer, out, first)

    def _added(self, word: str, layer: int, out: Tensor, first: int) -> Tensor:
        """What is added to the stream, of a component's output behind its norm."""
        multiplier = self.decoder.blocks[layer].multiplier
        out = out if multiplier == 1.0 else out * multiplier
        return self.taps.at(word, layer, out, first)

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
        if attention.clip is not None:
            q, k, v = (part.clamp(-attention.clip, attention.clip) for part in (q, k, v))
        q = self._norm("q", layer, attention.q_norm, q)
        k = self._norm("k", layer, attention.k_norm, k)
        where = self.geometries[attention.kind].take(len(x))
        if where.turn is not None:
            q, k = where.turn(q), where.turn(k)
        keys, values = k.transpose(2, 3), v.transpose(2, 3)
        self.taps.keys_values(layer, keys, values)
        offered = self.taps.offers("pattern", layer)
        if self.shared is not None:
            seen = partial(self.taps.at, "pattern", layer) if offered else None
            return self.shared(q, k, v, attention, seen)
        past = None
        if self.past is not None:
            past_keys, past_values = self.past(layer)
            past = past_keys[: len(x)], past_values[: len(x)]
        change = None
        if offered:
            change = partial(self.taps.pattern, layer, q.shape[2])
        return attend(q, keys, values, past, attention, where, change)

    def _projections(
        self, layer: int, x: Tensor, words: Sequence[str], first: int = 0
    ) -> list[Tensor]:
        """Queries, keys, values (A, n, S, heads, d_head) of all heads."""
        block = self.decoder.blocks[layer]
        found = block.attention.project(self._norm("norm1", layer, block.norm1, x, first), words)
        return [
            self.taps.at(word, layer, part, first) for word, part in zip(words, found, strict=True)
        ]

    def _mlp(self, layer: int, x: Tensor, count: int, due: list[Start]) -> Tensor:
        """What the MLP adds to the streams of ``count`` arms, where it reads x (A, n, S, d); the
        arms from ``len(x)`` on bring their neurons."""
        mlp, frozen = self.decoder.blocks[layer].mlp, self.frozen
        if frozen is not None and frozen.freeze.holds_mlp(layer):
            return self._frozen_mlp(layer, x, count)
        if isinstance(mlp, Experts):
            return self._behind_mlp(layer, mlp(self._mlp_in(layer, x)))
        brought = [start.neurons for start in due if start.neurons is not None]
        computed = [mlp.hidden(self._mlp_in(layer, x))] if len(x) else []
        hidden = torch.cat((*computed, *brought)) if brought else computed[0]
        return self._down(layer, mlp, hidden)

    def _frozen_mlp(self, layer: int, x: Tensor, count: int) -> Tensor:
        """With the MLP at its clean value, only what is edited or read is computed."""
        assert self.frozen is not None
        clean, taps = self.frozen.mlp_out(layer, slice(0, count)), self.taps
        arms = taps.arms_at(layer, count, "mlp_in", "mlp_hidden", "mlp_out")
        if arms is None:
            return clean
        if taps.touches(("mlp_in", layer)):
            self._mlp_in(layer, x[arms], arms.start)
        mlp = self.decoder.blocks[layer].mlp
        if isinstance(mlp, MLP) and taps.touches(("mlp_hidden", layer)):
            hidden = _expanded(self.frozen.hidden(layer, arms), slice(0, arms.stop - arms.start))
            out = self._down(layer, mlp, hidden, arms.start)
        else:
            out = taps.at("mlp_out", layer, _expanded(clean, arms), arms.start)
        return _among(clean, arms, out, count)

    def _down(self, layer: int, mlp: MLP, hidden: Tensor, first: int = 0) -> Tensor:
        hidden = self.taps.at("mlp_hidden", layer, hidden, first)
        return self._behind_mlp(layer, mlp.down(hidden), first)

    def _behind_mlp(self, layer: int, out: Tensor, first: int = 0) -> Tensor:
        out = self._norm("post2", layer, self.decoder.blocks[layer].post2, out, first)
        return self._added("mlp_out", layer, out, first)

    def _mlp_in(self, layer: int, x: Tensor, first: int = 0) -> Tensor:
        normed = self._norm("norm2", layer, self.decoder.blocks[layer].norm2, x, first)
        return self.taps.at("mlp_in", layer, normed, first)


def _due(waiting: list[Start], entry: Entry) -> list[Start]:
    """The starts at this entry, no longer waiting; those before the first block are at block 0."""
    due = []
    while waiting and max(waiting[0].entry, Entry(0)) == entry:
        due.append(waiting.pop(0))
    return due


def _joined(x: Tensor, more: Sequence[Tensor]) -> Tensor:
    pieces = [x, *more] if len(x) else more
    return x if not pieces else pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


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


def _replaced(clean: Tensor, z: Tensor, heads: list[int]) -> Tensor:
    out = clean.clone()
    out[..., heads, :] = z[..., heads, :]
    return out
