"""Matrices laid out for products with one number of rows, for when the same ones come again.

MKL rearranges a matrix before it multiplies. In training, thousands of steps multiply the same
matrices by equally many rows, and with few rows the rearranging is a third of the time. So for the
steps of one training each matrix W (outputs, inputs) is rearranged once, for::

    y = x W^T + b      forward,          dL/dx = dL/dy W      backward

The products are MKL's own, the same numbers as without. Only on a CPU, in float32; anything else
and any other number of rows takes the ordinary way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LIMIT = 640 * 2**20
"""Bytes of rearranged matrices at most, as they are copies."""
STEPS = 20
"""Fewer steps than this don't repay the rearranging."""


def available(weight: Tensor) -> bool:
    """Whether this matrix can be rearranged here."""
    usable = torch.backends.mkl.is_available() and hasattr(torch.ops.mkl, "_mkl_linear")
    return usable and weight.device.type == "cpu" and weight.dtype == torch.float32


def cost(weight: Tensor) -> int:
    """Bytes of a matrix rearranged for both directions; 0 where that can't be had."""
    return 2 * weight.nbytes if available(weight) else 0


class Packing:
    """What is rearranged during one training: matrices as they are first used, up to a limit."""

    def __init__(self, limit: int | None = None, most: int = LIMIT) -> None:
        self.bytes, self.limit = 0, most if limit is None else min(limit, most)

    def room_for(self, weight: Tensor) -> bool:
        taken = cost(weight)
        if self.bytes + taken > self.limit or not taken:
            return False
        self.bytes += taken
        return True


class Packed:
    """One matrix (outputs, inputs), rearranged for ``rows`` rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int):
        self.weight, self.bias, self.rows = weight, bias, rows
        self._forward = _rearranged(weight, rows)
        self._backward: Tensor | None = None

    def linear(self, x: Tensor) -> Tensor:
        """x W^T + b for x (..., inputs) with ``rows`` rows in all."""
        out: Tensor = torch.ops.mkl._mkl_linear(x, self._forward, self.weight, self.bias, self.rows)
        return out

    def back(self, gradient: Tensor) -> Tensor:
        """gradient W for a gradient (..., outputs)."""
        if self._backward is None:
            self._backward = _rearranged(self.weight.T, self.rows)
        out: Tensor = torch.ops.mkl._mkl_linear(
            gradient, self._backward, self.weight.T, None, self.rows
        )
        return out

    def __call__(self, x: Tensor) -> Tensor:
        """What ``linear`` gives, differentiable in x."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.linear(x)
        result: Tensor = _PackedLinear.apply(x, self)
        return result


class _PackedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Packed) -> Tensor:
        ctx.packed = packed
        return packed.linear(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.packed.back(gradient.contiguous()), None


def _rearranged(weight: Tensor, rows: int) -> Tensor:
    with torch.no_grad():
        packed: Tensor = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
    return packed
