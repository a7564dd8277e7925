"""Norms, each as a function and as a scale that can be held.

With w and b the weights of a norm, and all sums over the last dimension::

    layer norm   y = w (x - mean(x)) s + b,   s = 1 / sqrt(var(x) + eps)
    RMS norm     y = w x s,                   s = 1 / sqrt(mean(x^2) + eps)

``scale`` gives s (..., 1), ``scaled`` y for an s of another input: linear in x up to b. In half
precision s and what it multiplies are in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.upcast import upcast


class Norm(Protocol):
    """A norm over the last dimension, or over the last two of queries or keys by head."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def scale(self, x: Tensor) -> Tensor:
        """What the (centred) input is multiplied by."""
        ...

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        """The norm with the scale of another input."""
        ...


@dataclass(frozen=True)
class LayerNorm:
    """``weight`` and ``bias`` are (d,), (heads, d) with one row for each head, or None."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight is not None and self.weight.dim() > 1:
            return self.scaled(x, self.scale(x))
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)

    def scale(self, x: Tensor) -> Tensor:
        return torch.rsqrt(upcast(x).var(-1, correction=0, keepdim=True) + self.eps)

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        wide = x.to(scale.dtype)
        out = (wide - wide.mean(-1, keepdim=True)) * scale
        out = out if self.weight is None else out * self.weight
        out = out if self.bias is None else out + self.bias
        return out.to(x.dtype)


@dataclass(frozen=True)
class RMSNorm:
    """An RMS norm; with ``rounds_first`` half precision is rounded before it is weighted."""

    weight: Tensor
    eps: float
    rounds_first: bool = True

    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad and x.dtype in (torch.float32, torch.float64):
            normed: Tensor = _RMS.apply(x, self)
            return normed
        return self.scaled(x, self.scale(x))

    def scale(self, x: Tensor) -> Tensor:
        # Half precision overflows in the square.
        return torch.rsqrt(upcast(x).square().mean(-1, keepdim=True) + self.eps)

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        out = x.to(scale.dtype) * scale
        return self.weight * out.to(x.dtype) if self.rounds_first else (self.weight * out).to(x)


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

    norm: Norm

    def __call__(self, x: Tensor) -> Tensor:
        return self.norm(x.float())

    def scale(self, x: Tensor) -> Tensor:
        return self.norm.scale(x.float())

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.norm.scaled(x.float(), scale.float())


@dataclass(frozen=True)
class AcrossHeads:
    """A norm of all heads' queries or keys (..., heads, d_head) together."""

    norm: Norm

    def __call__(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(-2)).view(x.shape)

    def scale(self, x: Tensor) -> Tensor:
        return self.norm.scale(x.flatten(-2)).unsqueeze(-1)

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.norm.scaled(x.flatten(-2), scale.squeeze(-1)).view(x.shape)
