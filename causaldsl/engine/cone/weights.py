"""A decoder's weights, read from a Hugging Face module without copying them.

For one block, with x the residual stream (rows are positions), N a norm or nothing and s a
multiplier::

    m = x + s N(A(N(x))),   y = m + s N(F(N(m)))            with F(x) in a parallel block

and m, y through a norm of their own where the stream itself is normalised. The tensors are the
module's own, detached, but for what its forward pass puts together anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from causaldsl.engine.cone.alibi import Alibi
from causaldsl.engine.cone.linear import Linear
from causaldsl.engine.cone.mlp import MLP, Experts
from causaldsl.engine.cone.norms import Norm
from causaldsl.engine.cone.rotary import Rotary
from causaldsl.engine.softcap import capped, shrinkage


@dataclass(frozen=True, eq=False)
class Joint:
    """q, k and v from one matrix that holds, for each key head, its query heads, its k and its v.

    Splitting the matrix would copy it; its outputs are split.
    """

    linear: Linear
    n_kv_heads: int
    d_head: int

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Queries, keys and values by their words, (..., heads, d_head)."""
        groups = self.linear(x).unflatten(-1, (self.n_kv_heads, -1, self.d_head))
        q, k, v = groups[..., :-2, :], groups[..., -2, :], groups[..., -1, :]
        return {"q": q.flatten(-3, -2), "k": k, "v": v}

    def split(self) -> tuple[Linear, Linear, Linear]:
        """Copies of q's, k's and v's own matrices."""
        weight = self.linear.weight.unflatten(0, (self.n_kv_heads, -1, self.d_head))
        bias = self.linear.bias
        by_head = None if bias is None else bias.unflatten(0, (self.n_kv_heads, -1, self.d_head))
        parts = (slice(None, -2), slice(-2, -1), slice(-1, None))
        q, k, v = (
            Linear(
                weight[:, part].flatten(0, 2),
                None if by_head is None else by_head[:, part].flatten(),
            )
            for part in parts
        )
        return q, k, v


@dataclass(frozen=True)
class Separate:
    """q, k and v from a matrix each."""

    q: Linear
    k: Linear
    v: Linear

    def split(self) -> tuple[Linear, Linear, Linear]:
        return self.q, self.k, self.v


@dataclass(frozen=True, eq=False)
class Kind:
    """What a layer's attention makes of positions, on the layer's device.

    ``window`` is how far back a position sees, itself included.
    """

    device: torch.device
    rotary: Rotary | None = None
    window: int | None = None
    alibi: Alibi | None = None


@dataclass(frozen=True)
class Attention:
    """``scale`` multiplies q k^T; ``q_norm`` and ``k_norm`` act before rotation, behind ``clip``.

    ``kind`` is an index into the decoder's kinds. Scores s become ``softcap`` tanh(s / softcap).
    ``sinks`` (n_heads,) are the scores of one more key, whose value is 0.
    """

    qkv: Separate | Joint
    out: Linear
    scale: float
    d_head: int
    kind: int = 0
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    softcap: float | None = None
    sinks: Tensor | None = None
    clip: float | None = None

    def project(self, x: Tensor, words: Sequence[str]) -> list[Tensor]:
        """Some of q, k and v (..., heads, d_head)."""
        if isinstance(self.qkv, Joint):
            found = self.qkv(x)
            return [found[word] for word in words]
        by_head = (*x.shape[:-1], -1, self.d_head)
        return [getattr(self.qkv, word)(x).view(by_head) for word in words]

    def linears(self) -> tuple[Linear, ...]:
        qkv = self.qkv
        own = (qkv.linear,) if isinstance(qkv, Joint) else (qkv.q, qkv.k, qkv.v)
        return (*own, self.out)


@dataclass(frozen=True)
class Block:
    """``norm1`` and ``norm2`` are before attention and MLP, ``post1`` and ``post2`` behind them;
    ``stream1`` and ``stream2`` of the stream once each has been added. ``multiplier`` is of what is
    added."""

    norm1: Norm | None
    attention: Attention
    norm2: Norm | None
    mlp: MLP | Experts
    post1: Norm | None = None
    post2: Norm | None = None
    stream1: Norm | None = None
    stream2: Norm | None = None
    parallel: bool = False
    multiplier: float = 1.0

    @property
    def device(self) -> torch.device:
        return self.attention.out.weight.device


@dataclass(frozen=True)
class Unembedding:
    """Logits: ``scale`` * (x W^T + b), then c tanh(logits / c) for a ``softcap`` c; x comes through
    ``projection`` if there is one."""

    linear: Linear
    scale: float = 1.0
    softcap: float | None = None
    projection: Linear | None = None

    @property
    def weight(self) -> Tensor:
        return self.linear.weight

    def __call__(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Logits (..., V) of x (..., d); (..., n, c) at ``columns`` (n, c) or (A, n, c)."""
        logits = self._uncapped(x, columns)
        return logits if self.softcap is None else capped(logits, self.softcap)

    def held(self, x: Tensor, clean: Tensor, columns: Tensor | None = None) -> Tensor:
        """Logits that the cap shrinks by as much as those of ``clean``."""
        logits = self._uncapped(x, columns)
        if self.softcap is None:
            return logits
        return logits * shrinkage(self._uncapped(clean, columns), self.softcap)

    def back(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """The gradient of x, for that of the logits, both in single precision at least."""
        if self.softcap is not None:
            gradient = gradient * (1 - (logits / self.softcap).square())
        if self.scale != 1.0:
            gradient = gradient * self.scale
        gradient = self.linear.back(gradient.to(self.weight.dtype))
        return gradient if self.projection is None else self.projection.back(gradient)

    def _projected(self, x: Tensor) -> Tensor:
        return x if self.projection is None else self.projection(x)

    def _uncapped(self, x: Tensor, columns: Tensor | None) -> Tensor:
        x, bias = self._projected(x), self.linear.bias
        if columns is None:
            logits = self.linear(x)
        else:
            logits = (self.weight[columns] @ x.unsqueeze(-1)).squeeze(-1)
            logits = logits if bias is None else logits + bias[columns]
        return logits if self.scale == 1.0 else logits * self.scale


@dataclass(frozen=True)
class Decoder:
    """Everything the forward pass needs.

    ``positions`` (n_ctx, d) are learned position embeddings. The stream begins as a token's row of
    ``embed`` times ``embed_scale``, through ``project_in`` and ``embed_norm``, plus its position.
    Blocks may lie on several devices; all else, and what is edited and read, is on the first one.
    """

    embed: Tensor
    positions: Tensor | None
    kinds: tuple[Kind, ...]
    blocks: tuple[Block, ...]
    norm: Norm | None
    unembed: Unembedding
    n_heads: int
    n_kv_heads: int
    d_head: int
    embed_scale: float | Tensor | None = None
    embed_norm: Norm | None = None
    project_in: Linear | None = None

    @property
    def devices(self) -> list[torch.device]:
        """Those of the blocks, and before them that of all else."""
        return list(dict.fromkeys((self.embed.device, *(block.device for block in self.blocks))))

    def device(self, layer: int) -> torch.device:
        """Where a block is; behind the last one, where the unembedding is."""
        return self.blocks[layer].device if layer < len(self.blocks) else self.embed.device

    @property
    def window(self) -> int | None:
        """How far back the layers see that see least; None if all see everything."""
        return min((k.window for k in self.kinds if k.window is not None), default=None)

    @property
    def mixed(self) -> bool:
        """Whether some layer has experts."""
        return any(isinstance(block.mlp, Experts) for block in self.blocks)

    @property
    def longest(self) -> int | None:
        """The longest prompt that the rotary embeddings are right for."""
        limits = [k.rotary.limit for k in self.kinds if k.rotary and k.rotary.limit]
        return min(limits, default=None)

    def seeing(self, window: int) -> Decoder:
        """This model with another window in the layers that have one."""
        kinds = tuple(
            kind if kind.window is None else replace(kind, window=window) for kind in self.kinds
        )
        return replace(self, kinds=kinds)

    def linears(self, first: int = 0) -> Iterator[Linear]:
        """Every linear map from a block on, the unembedding last; but for experts."""
        for block in self.blocks[max(first, 0) :]:
            yield from block.attention.linears()
            yield from block.mlp.linears()
        yield self.unembed.linear
