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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.adam import Adam
from causaldsl.engine.upcast import upcast_dtype

Batch = TypeVar("Batch")

Loss = list[tuple[Tensor, float]]
"""The loss of a batch, by pieces: the losses () of examples, and their shares of the batch. They
are read at the end of an epoch: a GPU is not waited for before."""
Gradients = dict[int, tuple[Loss, Tensor]]
"""By learner: its loss, and the loss's gradient with respect to its free matrix."""
InPieces = Callable[[Callable[[int], Gradients]], Gradients]
"""Calls a function of the number of pieces into which it splits its work."""

_NONE_LEFT: Any = object()
"""For a learner whose batches of an epoch have run out."""


@dataclass(frozen=True)
class DasOptions:
    """How to train. The caller makes the batches and the loss from ``batch`` and ``objective``."""

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


@dataclass(frozen=True)
class Learner(Generic[Batch]):
    """One subspace to learn: the width of the space, how to train, the batches of an epoch."""

    width: int
    options: DasOptions
    batches: Callable[[int], Iterable[Batch]]


def fit(
    width: int,
    options: DasOptions,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[Tensor, Batch], Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> DasFit:
    """Train a ``width`` x ``options.dim`` orthonormal basis to lower ``loss(basis, batch)``.

    ``batches(epoch)`` gives the epoch's batches, one optimisation step each. Equal arguments give
    an equal basis: the start is drawn from a generator of its own.
    """

    def losses(step: Sequence[tuple[int, Tensor, Batch]]) -> Tensor:
        return torch.stack([loss(basis, batch) for _, basis, batch in step])

    (found,) = fit_together([Learner(width, options, batches)], losses, dtype=dtype, device=device)
    return found


def fit_together(
    learners: Sequence[Learner[Batch]],
    losses: Callable[[Sequence[tuple[int, Tensor, Batch]]], Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    in_pieces: InPieces = lambda work: work(1),
) -> list[DasFit]:
    """Train several bases side by side: each as ``fit`` would alone, a step of all at a time.

    ``losses`` gives the mean losses (m,) of m (learner, basis, batch). A learner without a batch
    left in an epoch waits for the next one; all have equally many epochs. ``in_pieces`` calls a
    function with the number of pieces to split the batches of a step into, so that they fit into
    memory: the step is the same.

    Raises:
        RunFailure: for more dimensions than the space has, no batches, or a loss that is not finite
            or does not depend on the subspace.
    """
    for learner in learners:
        if not 0 < learner.options.dim <= learner.width:
            raise RunFailure(
                f"cannot learn {learner.options.dim} dimensions of a space of {learner.width}",
                f"give `dim` a value from 1 to {learner.width}",
            )
    dtype = upcast_dtype(dtype)  # Adam's steps are too small for half precision
    frees = [_free(learner).to(device=device, dtype=dtype).requires_grad_() for learner in learners]
    optimizers = [Adam(free) for free in frees]
    curves: list[list[float]] = [[] for _ in learners]
    with torch.enable_grad():
        for epoch in range(learners[0].options.epochs):
            rates = [_rate(learner.options, epoch) for learner in learners]
            seen: list[list[Loss]] = [[] for _ in learners]
            epochs = [learner.batches(epoch) for learner in learners]
            for batches in zip_longest(*epochs, fillvalue=_NONE_LEFT):
                own = {i: batch for i, batch in enumerate(batches) if batch is not _NONE_LEFT}
                found = in_pieces(partial(_gradients, frees, own, losses))
                for i, (loss, gradient) in found.items():
                    optimizers[i].step(gradient, rates[i])
                    seen[i].append(loss)
            for curve, of_steps in zip(curves, seen, strict=True):
                if not of_steps:
                    raise RunFailure("a subspace cannot be learned from no pairs")
                values = _values(of_steps)
                curve.append(sum(values) / len(values))
    return [
        DasFit(orthonormal(free.detach()), tuple(curve))
        for free, curve in zip(frees, curves, strict=True)
    ]


def _free(learner: Learner[Batch]) -> Tensor:
    return start(learner.width, learner.options.dim, learner.options.seed)


def orthonormal(free: Tensor) -> Tensor:
    """The orthonormal basis that a free matrix (d, k) of full rank stands for."""
    if free.shape[1] == 1:
        return free / torch.linalg.vector_norm(free)
    return torch.linalg.qr(free).Q


def start(width: int, dim: int, seed: int) -> Tensor:
    """A random orthonormal basis, the same for the same seed on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return orthonormal(torch.randn(width, dim, generator=generator, dtype=torch.float64))


def _gradients(
    frees: Sequence[Tensor],
    batches: Mapping[int, Batch],
    losses: Callable[[Sequence[tuple[int, Tensor, Batch]]], Tensor],
    pieces: int,
) -> Gradients:
    """Loss and gradient per learner, with each batch split into ``pieces``."""
    found: Gradients = {}
    for piece in range(pieces):
        parts = {i: _piece(batch, piece, pieces) for i, batch in batches.items()}
        step = [(i, orthonormal(frees[i]), part) for i, (part, share) in parts.items() if share]
        if not step:
            continue
        values = losses(step)
        if not values.requires_grad:
            raise RunFailure("the loss does not depend on the subspace that is to be learned")
        chosen = [i for i, _, _ in step]
        gradients = torch.autograd.grad(values.sum(), [frees[i] for i in chosen])
        for i, value, gradient in zip(chosen, values.detach(), gradients, strict=True):
            share = parts[i][1]
            loss, before = found.get(i, ([], None))
            own = gradient if share == 1 else gradient * share
            found[i] = [*loss, (value, share)], own if before is None else before + own
    return found


def _piece(batch: Batch, piece: int, pieces: int) -> tuple[Batch, float]:
    """One of the pieces of a batch, and its share of the examples."""
    if pieces == 1:
        return batch, 1.0
    part = batch[piece::pieces]  # type: ignore[index]
    return part, len(part) / len(batch)  # type: ignore[arg-type]


def _values(of_steps: Sequence[Loss]) -> list[float]:
    """The loss of each step of an epoch."""
    read = iter(torch.stack([value for loss in of_steps for value, _ in loss]).tolist())
    values = [sum(next(read) * share for _, share in loss) for loss in of_steps]
    if not all(map(math.isfinite, values)):
        raise RunFailure(
            "the loss of a learned subspace is not a finite number", "try a lower learning rate"
        )
    return values


def _rate(options: DasOptions, epoch: int) -> float:
    done = epoch / options.epochs
    if options.decay == "linear":
        return options.lr * (1.0 - done)
    if options.decay == "cosine":
        return options.lr * 0.5 * (1.0 + math.cos(math.pi * done))
    return options.lr
