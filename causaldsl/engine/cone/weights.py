"""A pre-norm decoder's weights, read from a Hugging Face module without copying them.

For one block, with x the residual stream (rows are positions)::

    m = x + A(norm1(x)),   y = m + W_down h,   h = act(W_gate norm2(m)) * (W_up norm2(m))

or h = act(W_up norm2(m)) for a plain MLP. Matrices are stored (outputs, inputs), as
``torch.nn.functional.linear`` wants them. The tensors are the module's own, detached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.cone.packing import Packed, Packing
from causaldsl.engine.exact import exact
from causaldsl.engine.upcast import upcast


@dataclass(eq=False)
class Linear:
    """x W^T + b. ``packing`` is set while training multiplies by the same matrix many times."""

    weight: Tensor
    bias: Tensor | None = None
    packing: Packing | None = None
    _packed: Packed | None = None

    def __call__(self, x: Tensor) -> Tensor:
        packed = self._packed_for(x)
        return F.linear(x, self.weight, self.bias) if packed is None else packed(x)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient W of x, for that of the output."""
        packed = self._packed_for(gradient)
        return gradient @ self.weight if packed is None else packed.back(gradient)

    def pack(self, packing: Packing | None) -> None:
        """From now on rearrange the matrix where it helps; with None, no longer."""
        self.packing, self._packed = packing, None

    def _packed_for(self, x: Tensor) -> Packed | None:
        if self.packing is None:
            return None
        rows = x.numel() // x.shape[-1]
        if self._packed is None and self.packing.room_for(self.weight):
            self._packed = Packed(self.weight, self.bias, rows)
        return self._packed if self._packed is not None and self._packed.rows == rows else None


@dataclass(frozen=True)
class LayerNorm:
    weight: Tensor
    bias: Tensor | None
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def scale(self, x: Tensor) -> Tensor:
        """What the centred input is multiplied by, (..., 1)."""
        return torch.rsqrt(x.var(-1, correction=0, keepdim=True) + self.eps)

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        """The norm with another input's scale: linear in x up to the bias."""
        out = (x - x.mean(-1, keepdim=True)) * scale * self.weight
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True)
class RMSNorm:
    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad and x.dtype in (torch.float32, torch.float64):
            normed: Tensor = _RMS.apply(x, self)
            return normed
        return self.scaled(x, self.scale(x))

    def scale(self, x: Tensor) -> Tensor:
        """What the input is multiplied by, (..., 1)."""
        # Half precision overflows in the square.
        return torch.rsqrt(upcast(x).square().mean(-1, keepdim=True) + self.eps)

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        """The norm with another input's scale: linear in x."""
        return self.weight * (x.to(scale.dtype) * scale).to(x.dtype)


class _RMS(torch.autograd.Function):
    """y = w x s with s = 1 / sqrt(mean(x^2) + eps).

    A training step takes dozens of norms: written out they are a third of the operations.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: RMSNorm) -> Tensor:
        scale = norm.scale(x)
        ctx.save_for_backward(x, scale)
        ctx.weight = norm.weight
        return (x * scale).mul_(norm.weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, scale = ctx.saved_tensors
        return behind_scale(gradient * ctx.weight, x, scale), None


def behind_scale(gradient: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """dL/dx = s (g - x s^2 mean(g x)) for the gradient g of x s, with s as in an RMS norm."""
    mean = (gradient * x).mean(-1, keepdim=True) * scale.square()
    return torch.addcmul(gradient, x, mean, value=-1).mul_(scale)


@dataclass(frozen=True)
class UpcastNorm:
    """A norm in float32, of a stream in half precision."""

    norm: LayerNorm | RMSNorm

    def __call__(self, x: Tensor) -> Tensor:
        return self.norm(x.float())

    def scale(self, x: Tensor) -> Tensor:
        return self.norm.scale(x.float())

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.norm.scaled(x.float(), scale.float())


Norm = LayerNorm | RMSNorm | UpcastNorm


@dataclass(frozen=True)
class Attention:
    """``scale`` multiplies q k^T; ``q_norm`` and ``k_norm`` act on each head, before rotation."""

    q: Linear
    k: Linear
    v: Linear
    out: Linear
    scale: float
    q_norm: Norm | None = None
    k_norm: Norm | None = None


@dataclass(frozen=True)
class MLP:
    """``gate`` is None for a plain MLP."""

    up: Linear
    down: Linear
    act: Callable[[Tensor], Tensor]
    gate: Linear | None = None

    def hidden(self, x: Tensor) -> Tensor:
        """The neurons after the nonlinearity."""
        if self.gate is None:
            return self.act(self.up(x))
        return self.act(self.gate(x)) * self.up(x)


@dataclass(frozen=True)
class Block:
    norm1: Norm
    attention: Attention
    norm2: Norm
    mlp: MLP


class Rotary:
    """Cosines and sines (T, d_head) of a rotary embedding, kept for the longest prompt so far.

    The sign of the first half's sine is kept with it.
    """

    def __init__(self, module: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]):
        self._module = module
        self._tables: tuple[Tensor, Tensor] | None = None

    def __call__(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        if self._tables is None or len(self._tables[0]) < length:
            with torch.no_grad(), exact(like.dtype):
                ids = torch.arange(length, device=like.device)
                cos, sin = (table[0] for table in self._module(like[None], ids[None]))
            first, second = sin.chunk(2, dim=-1)
            self._tables = cos, torch.cat((-first, second), dim=-1)
        return self._tables


@dataclass(frozen=True)
class Decoder:
    """Everything the forward pass needs.

    ``positions`` (n_ctx, d) are learned position embeddings; a model has these or ``rotary``. No
    position attends further back than ``window`` tokens, if that is set.
    """

    embed: Tensor
    positions: Tensor | None
    rotary: Rotary | None
    blocks: tuple[Block, ...]
    norm: Norm
    unembed: Linear
    n_heads: int
    n_kv_heads: int
    d_head: int
    window: int | None = None

    def linears(self, first: int = 0) -> Iterator[Linear]:
        """Every linear map from a block on, the unembedding last."""
        for block in self.blocks[max(first, 0) :]:
            attention, mlp = block.attention, block.mlp
            yield from (attention.q, attention.k, attention.v, attention.out)
            yield from (mlp.up, mlp.down) if mlp.gate is None else (mlp.gate, mlp.up, mlp.down)
        yield self.unembed
