"""Learning a subspace by gradient descent (distributed alignment search).

A free matrix M (d, k) is trained with Adam; the subspace it stands for is::

    Q = M / |M|     for k = 1,        Q R = M  (thin QR)     for k > 1

so Q (d, k) is orthonormal at every step and no d x d rotation is ever formed. The gradient of the
loss is orthogonal to what leaves Q unchanged, M's length among it: M only grows, which slows the
turning of Q down as training goes on.

What a low loss does not prove: a subspace that is free to be anywhere in an MLP can work by
switching on a pathway that is dormant on the data. See ``audit illusion``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.wide import wide_dtype

Batch = TypeVar("Batch")

_UNDERFLOWS = 1e-30
"""Smaller probabilities have lost digits, or are zero, in float32."""


@dataclass(frozen=True)
class DasOptions:
    """How to train. ``batch`` and ``objective`` are for whoever makes the batches and the loss."""

    dim: int = 1
    lr: float = 1e-2
    epochs: int = 10
    batch: int = 64
    seed: int = 0
    objective: Literal["cross_entropy", "logit_diff"] = "cross_entropy"
    decay: Literal["none", "linear", "cosine"] = "linear"


@dataclass(frozen=True)
class DasFit:
    """An orthonormal basis (d, k), and the mean loss over the batches of each epoch."""

    basis: Tensor
    losses: tuple[float, ...]


def fit(
    width: int,
    options: DasOptions,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Tensor, Batch], Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    progress: Callable[[int, float], None] = lambda epoch, loss: None,
) -> DasFit:
    """Train a ``width`` x ``options.dim`` orthonormal basis to lower ``loss(basis, batch)``.

    ``batches(epoch)`` gives the epoch's batches, one optimisation step each. Equal arguments give
    an equal basis: the start is drawn from a generator of its own.
    """
    if not 0 < options.dim <= width:
        raise RunFailure(
            f"cannot learn {options.dim} dimensions of a space of {width}",
            f"give `dim` a value from 1 to {width}",
        )
    dtype = wide_dtype(dtype)  # Adam's steps are too small for half precision
    free = start(width, options.dim, options.seed).to(device=device, dtype=dtype).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=options.lr)
    curve: list[float] = []
    with torch.enable_grad():
        for epoch in range(options.epochs):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * _decayed(options.decay, epoch / options.epochs)
            seen = [_step(free, optimizer, loss, batch) for batch in batches(epoch)]
            if not seen:
                raise RunFailure("a subspace cannot be learned from no pairs")
            curve.append(sum(seen) / len(seen))
            progress(epoch, curve[-1])
    return DasFit(orthonormal(free.detach()), tuple(curve))


def orthonormal(free: Tensor) -> Tensor:
    """The orthonormal basis that a free matrix (d, k) of full rank stands for."""
    if free.shape[1] == 1:
        return free / torch.linalg.vector_norm(free)
    return torch.linalg.qr(free).Q


def start(width: int, dim: int, seed: int) -> Tensor:
    """A random orthonormal basis, the same for the same seed on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return orthonormal(torch.randn(width, dim, generator=generator, dtype=torch.float64))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (n, V) to token ids (n,), all in one.

    As ``torch.nn.functional.cross_entropy``, with half the passes over the logits: they are the
    largest tensor of a training step by far.
    """
    result: Tensor = _CrossEntropy.apply(logits, targets)
    return result


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        probabilities = torch.softmax(logits, dim=-1)
        ctx.save_for_backward(probabilities, targets)
        chosen = probabilities.gather(-1, targets[:, None])
        if (chosen < _UNDERFLOWS).any():
            return -torch.log_softmax(logits, dim=-1).gather(-1, targets[:, None]).mean()
        return -chosen.log().mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        probabilities, targets = ctx.saved_tensors
        share = gradient / len(targets)
        result = probabilities * share
        result[torch.arange(len(targets), device=targets.device), targets] -= share
        return result, None


def _step(
    free: Tensor,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor, Batch], Tensor],
    batch: Batch,
) -> float:
    value = loss(orthonormal(free), batch)
    if not value.requires_grad:
        raise RunFailure("the loss does not depend on the subspace that is to be learned")
    (free.grad,) = torch.autograd.grad(value, free)
    optimizer.step()
    result = float(value.detach())
    if not math.isfinite(result):
        raise RunFailure(
            "the loss of a learned subspace is not a finite number", "try a lower learning rate"
        )
    return result


def _decayed(decay: str, done: float) -> float:
    if decay == "linear":
        return 1.0 - done
    if decay == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    return 1.0
