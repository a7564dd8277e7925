"""Attention over a known past and the positions of a window (``decoder.py`` has the formula)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.cone.frozen import of_rows
from causaldsl.engine.cone.weights import Attention
from causaldsl.engine.cone.window import Geometry
from causaldsl.engine.softcap import capped
from causaldsl.engine.upcast import upcast_dtype

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Past:
    """What a clean run keeps to the left of a window of ``rows`` of its prompts.

    ``keys`` and ``values`` are by layer (prompts, kv_heads, positions, d_head); the first ``left``
    positions are seen.
    """

    keys: Mapping[int, Tensor]
    values: Mapping[int, Tensor]
    rows: slice | Tensor
    left: int

    def __call__(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values (1 or A, n, kv_heads, P, d_head). Raises ``LookupError`` without any."""
        kept = self.keys.get(layer)
        if kept is None or kept.shape[2] < self.left:
            raise LookupError(f"the clean run kept too few keys of layer {layer}")
        tables = (kept[:, :, : self.left], self.values[layer][:, :, : self.left])
        keys, values = (of_rows(table, self.rows, slice(None)) for table in tables)
        return keys, values


def attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    past: tuple[Tensor, Tensor] | None,
    attention: Attention,
    where: Geometry,
    change: Change | None = None,
) -> Tensor:
    """Attention-weighted values (A, n, S, heads, d_head) for queries of the same shape.

    ``change`` is what is done to the weights.
    """
    arms, n, S, heads, d_head = q.shape
    kv_heads = keys.shape[2]
    shared = heads // kv_heads
    stacked = (q * attention.scale).view(arms, n, S, kv_heads, shared, d_head)
    stacked = stacked.permute(0, 1, 3, 4, 2, 5).reshape(arms, n, kv_heads, shared * S, d_head)
    z, _ = attend_stacked(
        stacked, keys, values, past, where, attention.softcap, attention.sinks, change
    )
    z = z.view(arms, n, kv_heads, shared, S, d_head).permute(0, 1, 4, 2, 3, 5)
    return z.reshape(arms, n, S, heads, d_head)


def attend_stacked(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    past: tuple[Tensor, Tensor] | None,
    where: Geometry,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    change: Change | None = None,
) -> tuple[Tensor, Tensor]:
    """z for scaled queries (A, n, kv_heads, shared * S, d_head), and the weights, own ones last."""
    S = keys.shape[3]
    # A single position, the usual tail, needs no product of matrices with itself.
    own = q @ keys.transpose(3, 4) if S > 1 else (q * keys).sum(-1, keepdim=True)
    own = _scores(own, S, softcap, where.own_bias, where.own_masked)
    if past is None:
        weights = _weights(own, S, sinks)
        weights = weights if change is None else change(weights)
        return weights @ values, weights
    past_keys, past_values = past
    left = with_past(q, past_keys.transpose(3, 4))
    left = _scores(left, S, softcap, where.past_bias, where.past_masked)
    weights = _weights(torch.cat((left, own), dim=-1), S, sinks)
    weights = weights if change is None else change(weights)
    on_left, on_own = weights.split((past_keys.shape[3], S), dim=-1)
    z = with_past(on_left, past_values)
    return (z + on_own @ values if S > 1 else torch.addcmul(z, on_own, values)), weights


def with_past(x: Tensor, past: Tensor) -> Tensor:
    """x (A, n, kv_heads, m, i) times what every arm, or all arms alike, have of the past."""
    arms, n, kv_heads, rows, _ = x.shape
    if len(past) == arms:
        return x @ past
    stacked = x.permute(1, 2, 0, 3, 4).reshape(n, kv_heads, arms * rows, -1)
    return (stacked @ past[0]).view(n, kv_heads, arms, rows, -1).permute(2, 0, 1, 3, 4)


def _scores(
    scores: Tensor, S: int, softcap: float | None, bias: Tensor | None, masked: Tensor | None
) -> Tensor:
    """Scores (A, n, kv_heads, shared * S, keys), capped, with what position adds, and masked."""
    if softcap is not None:
        scores = capped(scores, softcap)
    if bias is not None:
        scores = (scores.unflatten(3, (-1, S)) + bias).flatten(3, 4)
    if masked is None:
        return scores
    if masked.shape[3] > 1:  # by query, and the heads that share a key come one after the other
        masked = masked.repeat(1, 1, 1, scores.shape[3] // S, 1)
    return scores.masked_fill(masked, -torch.inf)


def _weights(scores: Tensor, S: int, sinks: Tensor | None) -> Tensor:
    if sinks is None:
        return _softmax(scores)
    arms, n, kv_heads, rows, _ = scores.shape
    sink = sinks.view(kv_heads, -1, 1).expand(-1, -1, S).reshape(kv_heads, rows, 1)
    return _softmax(torch.cat((scores, sink.expand(arms, n, -1, -1, -1)), dim=-1))[..., :-1]


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, dim=-1, dtype=upcast_dtype(scores.dtype)).to(scores.dtype)
