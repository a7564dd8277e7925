"""The forward pass of a pre-norm decoder over a window of positions.

With P positions to the left whose keys K_P and values V_P are known from the clean run, and S
positions of our own, for each head of width d_head::

    [a_P, a_S] = softmax(scale * [q K_P^T, mask(q K_S^T)]),   z = a_P V_P + a_S V_S

q is (n, S, heads, d_head), keys and values (n, kv_heads, P or S, d_head). Query heads that share a
key-value head are stacked along S, so shared keys are never repeated; past and own keys are never
copied together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.cone.held import Held
from causaldsl.engine.cone.probe import Probe
from causaldsl.engine.cone.weights import Decoder, Linear, Norm
from causaldsl.engine.cone.window import Geometry, Window
from causaldsl.plan.cones import Entry, Stage

Past = Callable[[int], tuple[Tensor, Tensor]]
"""Keys and values left of the window at a layer."""


def embed(decoder: Decoder, tokens: Tensor, window: Window, probe: Probe) -> Tensor:
    """Tokens (n, S) of a window: the first block's input (n, S, d)."""
    x = probe.at("embed", -1, decoder.embed[tokens])
    if decoder.positions is not None:
        x = x + decoder.positions[window.positions().to(tokens.device)]
    return x


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over a window: the model, where the window is, and what watches and changes it.

    ``past`` is None when nothing lies to the left. ``held`` is what a frozen run takes from the
    clean one.
    """

    decoder: Decoder
    geometry: Geometry
    past: Past | None
    probe: Probe
    held: Held | None = None

    def run(
        self, x: Tensor, entry: Entry, neurons: Tensor | None = None, last: int | None = None
    ) -> Tensor:
        """From the residual stream at ``entry`` to the output of block ``last`` (n, S, d).

        At stage HIDDEN the stream is that of stage MID, and ``neurons`` (n, S, d_mlp) are the
        clean MLP's.
        """
        probe, n_layers = self.probe, len(self.decoder.blocks)
        if entry.layer > 0 and entry.stage == Stage.INPUT:  # also the output of the block before
            x = probe.at("resid_post", entry.layer - 1, x)
        for layer in range(max(entry.layer, 0), n_layers if last is None else last + 1):
            stage = entry.stage if layer == entry.layer else Stage.INPUT
            if stage == Stage.INPUT:
                x = probe.at("resid_pre", layer, x)
                x = x + self._attention(layer, x)
            if stage != Stage.HIDDEN:
                x = probe.at("resid_mid", layer, x)
            x = x + self._mlp(layer, x, neurons if layer == entry.layer else None)
            x = probe.at("resid_post", layer, x)
        return x

    def unembed(self, x: Tensor, columns: Tensor | None = None, at_last: bool = True) -> Tensor:
        """Logits (..., V) of the last block's output; (n, c) at ``columns`` of the vocabulary."""
        scale = self.held.scale(3, len(self.decoder.blocks)) if self.held else None
        if at_last:
            x, scale = x[:, -1], None if scale is None else scale[:, -1]
        return unembed(self.decoder, x, columns, scale)

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        """What the attention layer adds to the residual stream."""
        probe, attention = self.probe, self.decoder.blocks[layer].attention
        free = self._free_heads(layer)
        if not free and not probe.touches_any(layer, "q", "k", "v", "z", "head_out", "attn_out"):
            assert self.held is not None
            return self.held.attn_out(layer)
        z: Tensor | None = None
        if free or probe.touches_any(layer, "q", "k", "v"):
            z = self._heads(layer, x, bool(free))
        if self.held is not None and len(free) < self.decoder.n_heads:
            if not free and not probe.touches_any(layer, "z", "head_out"):
                return probe.at("attn_out", layer, self.held.attn_out(layer))
            clean = self.held.z(layer).unflatten(2, (self.decoder.n_heads, -1))
            z = clean if z is None or not free else _replaced(clean, z, free)
        assert z is not None
        z = probe.at("z", layer, z)
        out = attention.out(z.flatten(2))
        out = probe.heads_out(layer, z, attention.out.weight, out)
        return probe.at("attn_out", layer, out)

    def _free_heads(self, layer: int) -> list[int]:
        """The heads that are computed; without a freeze, all."""
        heads = range(self.decoder.n_heads)
        if self.held is None:
            return list(heads)
        return [head for head in heads if not self.held.freeze.holds_head(layer, head)]

    def _heads(self, layer: int, x: Tensor, attend: bool) -> Tensor | None:
        """z (n, S, heads, d_head) of all heads; or only their q, k and v, for the probe to see."""
        block, probe = self.decoder.blocks[layer], self.probe
        attention = block.attention
        normed = _normed(block.norm1, x, self.held.scale(1, layer) if self.held else None)
        by_head = (*x.shape[:2], -1, self.decoder.d_head)

        def project(word: str) -> Tensor:
            linear: Linear = getattr(attention, word)
            return probe.at(word, layer, linear(normed).view(by_head))

        if not attend:
            for word in ("q", "k", "v"):
                if probe.touches((word, layer)):
                    project(word)
            return None
        q, k, v = project("q"), project("k"), project("v")
        if attention.q_norm is not None:
            q = attention.q_norm(q)
        if attention.k_norm is not None:
            k = attention.k_norm(k)
        rotary = self.geometry.rotary
        if rotary is not None:
            q, k = _rotate(q, *rotary), _rotate(k, *rotary)
        keys, values = k.transpose(1, 2), v.transpose(1, 2)
        probe.keys_values(layer, keys, values)
        past = None if self.past is None else self.past(layer)
        return _attend(q, keys, values, past, attention.scale, self.geometry)

    def _mlp(self, layer: int, x: Tensor, neurons: Tensor | None) -> Tensor:
        """What the MLP adds to the residual stream."""
        mlp, probe, held = self.decoder.blocks[layer].mlp, self.probe, self.held
        if held is not None and held.freeze.holds_mlp(layer):
            if probe.touches(("mlp_in", layer)):
                self._mlp_in(layer, x)
            if not probe.touches(("mlp_hidden", layer)):
                return probe.at("mlp_out", layer, held.mlp_out(layer))
            hidden = held.hidden(layer)
        else:
            hidden = mlp.hidden(self._mlp_in(layer, x)) if neurons is None else neurons
        hidden = probe.at("mlp_hidden", layer, hidden)
        return probe.at("mlp_out", layer, mlp.down(hidden))

    def _mlp_in(self, layer: int, x: Tensor) -> Tensor:
        scale = self.held.scale(2, layer) if self.held else None
        normed = _normed(self.decoder.blocks[layer].norm2, x, scale)
        return self.probe.at("mlp_in", layer, normed)


def unembed(
    decoder: Decoder, x: Tensor, columns: Tensor | None = None, scale: Tensor | None = None
) -> Tensor:
    """Logits (..., V) of the stream x (..., d); of x (n, d), (n, c) at ``columns``.

    ``scale`` is that of the last norm, if it is held.
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
    out[:, :, heads] = z[:, :, heads]
    return out


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


def _attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    past: tuple[Tensor, Tensor] | None,
    scale: float,
    where: Geometry,
) -> Tensor:
    """Attention-weighted values (n, S, heads, d_head) for queries of the same shape."""
    n, S, heads, d_head = q.shape
    kv_heads = keys.shape[1]
    shared = heads // kv_heads
    stacked = (q * scale).view(n, S, kv_heads, shared, d_head).permute(0, 2, 3, 1, 4)
    stacked = stacked.reshape(n, kv_heads, shared * S, d_head)
    own = stacked @ keys.transpose(2, 3)
    if where.own_masked is not None:
        own = own.masked_fill(where.own_masked.repeat(1, 1, shared, 1), -torch.inf)
    if past is None:
        z = _softmax(own) @ values
    else:
        past_keys, past_values = past
        left = stacked @ past_keys.transpose(2, 3)
        if where.past_masked is not None:
            left = left.masked_fill(where.past_masked, -torch.inf)
        weights = _softmax(torch.cat((left, own), dim=-1))
        on_left, on_own = weights.split((past_keys.shape[2], S), dim=-1)
        z = on_left @ past_values + on_own @ values
    z = z.view(n, kv_heads, shared, S, d_head).permute(0, 3, 1, 2, 4)
    return z.reshape(n, S, heads, d_head)


def _softmax(scores: Tensor) -> Tensor:
    wide = scores.dtype if scores.dtype in (torch.float32, torch.float64) else torch.float32
    return torch.softmax(scores, dim=-1, dtype=wide).to(scores.dtype)
