"""Learning a subspace by gradient descent (distributed alignment search).

``engine/bases.py`` says what is patched along, and how that follows from what is trained.

What a low loss does not prove: a subspace that is free to be anywhere in an MLP can work by
switching on a pathway that is dormant on the data. See ``audit illusion``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, zip_longest
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.adam import Adam
from causaldsl.engine.bases import DasOptions, cost_of, found_basis, started, trained_basis
from causaldsl.engine.transfer import fetched
from causaldsl.engine.upcast import upcast_dtype

Batch = TypeVar("Batch")

Loss = list[tuple[Tensor, float]]
"""The loss of a batch, by pieces: the losses () of examples, and their shares of the batch. They
are read an epoch later, or to be kept: a GPU is not waited for before."""
Gradients = dict[int, tuple[Loss, Tensor]]
"""By learner: its loss, and the loss's gradient with respect to its free matrix."""
InPieces = Callable[[Callable[[int], Gradients]], Gradients]
"""Calls a function of the number of pieces into which it splits its work."""

FALLING = 0.04
"""Of all that a loss has fallen, the share in the last third of a training that is noted."""

_NONE_LEFT: Any = object()
"""For a learner whose batches of an epoch have run out."""


@dataclass(frozen=True)
class DasFit:
    """An orthonormal basis (d, k), or the gates (d,) of a mask, each 0 or 1, and the mean loss over
    the batches of each epoch.

    ``held_out`` are the losses of what was held out after each epoch; the basis is the best's.
    """

    basis: Tensor
    losses: tuple[float, ...]
    held_out: tuple[float, ...] = ()

    @property
    def still_falling(self) -> tuple[float, float] | None:
        """The lowest loss before the last third of the epochs, and the mean in it, if it fell.

        It fell if it went down by more than a share of all that it went down since the first epoch,
        whatever the loss that can't be undercut, and by more than noise does: twice the standard
        error of that mean, by what the loss rose between one epoch and the next.
        """
        losses = self.held_out or self.losses
        if len(losses) < 2:
            return None
        late = max(1, len(losses) // 3)
        before, after = min(losses[:-late]), sum(losses[-late:]) / late
        rises = [max(0.0, b - a) ** 2 for a, b in pairwise(losses)]
        noise = math.sqrt(sum(rises) / len(rises) / late)
        least = max(FALLING * (losses[0] - after), 2 * noise)
        return (before, after) if before - after > least else None


@dataclass(frozen=True)
class Learner(Generic[Batch]):
    """One subspace to learn: the width of the space, how to train, the batches of an epoch.

    ``held_out`` are batches that are not trained on. With them the basis of the epoch after which
    their loss was lowest is kept, and training stops after ``patience`` epochs without a lower one.
    """

    width: int
    options: DasOptions
    batches: Callable[[int], Iterable[Batch]]
    held_out: Sequence[Batch] = ()

    @property
    def patience(self) -> int:
        if self.options.gated:  # the gates have to close
            return self.options.epochs
        return max(3, self.options.epochs // 5)


class Checkpoints(Protocol):
    """Where what is done of a long operation is kept, so that one that was stopped goes on."""

    def load(self) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors on the CPU and plain data, as they were saved last; None if nothing was."""

    def save(self, tensors: dict[str, Tensor], plain: Any) -> None:
        """Keep these in the place of those before; ``plain`` says ``what`` they are."""


class _Best:
    """The lowest held-out loss of a learner so far, with its basis."""

    def __init__(self, patience: int):
        self.patience = patience
        self.losses: list[float] = []
        self.basis: Tensor | None = None
        self.epoch = 0

    def see(self, loss: float, basis: Tensor) -> None:
        if self.basis is None or loss < self.losses[self.epoch]:
            self.basis, self.epoch = basis, len(self.losses)
        self.losses.append(loss)

    @property
    def done(self) -> bool:
        return len(self.losses) - 1 - self.epoch >= self.patience


def fit_together(
    learners: Sequence[Learner[Batch]],
    losses: Callable[[Sequence[tuple[int, Tensor, Batch]]], Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    in_pieces: InPieces = lambda work: work(1),
    checkpoints: Checkpoints | None = None,
) -> list[DasFit]:
    """Train orthonormal bases side by side: each as it would be alone, a step of all at a time.

    A learner's start is drawn from a generator of its own, so equal arguments give equal bases.
    ``losses`` gives the mean losses (m,) of m (learner, basis, batch). A learner without a batch
    left in an epoch waits for the next one; all have equally many epochs at most. ``in_pieces``
    calls a function with the number of pieces to split the batches of a step into, so that they
    fit into memory: the step is the same. With ``checkpoints`` it goes on where it was stopped,
    with the same bits.

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
    starts = [started(one.width, one.options) for one in learners]
    frees = [free.to(device=device, dtype=dtype).requires_grad_() for free in starts]
    optimizers = [Adam(free) for free in frees]
    curves: list[list[float]] = [[] for _ in learners]
    bests = [_Best(learner.patience) for learner in learners]
    state = _State(frees, optimizers, curves, bests)
    first = state.load(checkpoints)
    unread: list[_Unread] = []
    with torch.enable_grad():
        for epoch in range(first, learners[0].options.epochs):
            going = [not best.done for best in bests]
            if not any(going):
                break
            rates = [_rate(learner.options, epoch) for learner in learners]
            seen: list[list[Loss]] = [[] for _ in learners]
            epochs = [
                one.batches(epoch) if on else () for one, on in zip(learners, going, strict=True)
            ]
            for batches in zip_longest(*epochs, fillvalue=_NONE_LEFT):
                own = {i: batch for i, batch in enumerate(batches) if batch is not _NONE_LEFT}
                found = in_pieces(partial(_gradients, learners, frees, epoch, own, losses))
                for i, (loss, gradient) in found.items():
                    optimizers[i].step(gradient, rates[i])
                    seen[i].append(loss)
            if not all(of_steps for of_steps, on in zip(seen, going, strict=True) if on):
                raise RunFailure("a subspace cannot be learned from no pairs")
            # A GPU goes on with the next epoch meanwhile.
            _read(unread)
            unread = [_Unread(c, s) for c, s, on in zip(curves, seen, going, strict=True) if on]
            if checkpoints is not None:
                _read(unread)
                unread = []
            _hold_out(learners, frees, bests, losses, going)
            state.save(checkpoints, epoch + 1)
    _read(unread)
    return [
        DasFit(
            found_basis(one.options, free.detach()) if best.basis is None else best.basis,
            tuple(curve),
            tuple(best.losses),
        )
        for one, free, curve, best in zip(learners, frees, curves, bests, strict=True)
    ]


@dataclass(frozen=True)
class _State:
    """All that later epochs depend on; their batches are drawn from seeds of their own."""

    frees: Sequence[Tensor]
    optimizers: Sequence[Adam]
    curves: Sequence[list[float]]
    bests: Sequence[_Best]

    def save(self, checkpoints: Checkpoints | None, epochs: int) -> None:
        if checkpoints is None:
            return
        tensors = {f"{i}/free": free.detach() for i, free in enumerate(self.frees)}
        for i, (adam, best) in enumerate(zip(self.optimizers, self.bests, strict=True)):
            tensors |= {f"{i}/{name}": part for name, part in adam.moments.items()}
            tensors |= {} if best.basis is None else {f"{i}/best": best.basis}
        plain = {
            "what": f"a training after {epochs} epochs",
            "epochs": epochs,
            "steps": [adam.steps for adam in self.optimizers],
            "curves": list(self.curves),
            "held_out": [best.losses for best in self.bests],
            "best": [best.epoch for best in self.bests],
        }
        checkpoints.save(tensors, plain)

    @torch.no_grad()
    def load(self, checkpoints: Checkpoints | None) -> int:
        """Go back to what was saved last; how many epochs were made by then."""
        found = None if checkpoints is None else checkpoints.load()
        if found is None:
            return 0
        tensors, plain = found
        for i, (free, adam, best) in enumerate(
            zip(self.frees, self.optimizers, self.bests, strict=True)
        ):
            free.copy_(tensors[f"{i}/free"])
            adam.restore(plain["steps"][i], {n: tensors[f"{i}/{n}"] for n in adam.moments})
            self.curves[i][:] = plain["curves"][i]
            best.losses, best.epoch = plain["held_out"][i], plain["best"][i]
            if f"{i}/best" in tensors:
                best.basis = tensors[f"{i}/best"].to(free)
        return int(plain["epochs"])


@torch.no_grad()
def _hold_out(
    learners: Sequence[Learner[Batch]],
    frees: Sequence[Tensor],
    bests: Sequence[_Best],
    losses: Callable[[Sequence[tuple[int, Tensor, Batch]]], Tensor],
    going: Sequence[bool],
) -> None:
    """Take the held-out loss of every learner that is still trained, the mean over examples."""
    for i, learner in enumerate(learners):
        if not learner.held_out or not going[i]:
            continue
        basis = found_basis(learner.options, frees[i].detach())
        cost = float(cost_of(learner.options, frees[i].detach(), basis))
        sizes = [len(batch) for batch in learner.held_out]  # type: ignore[arg-type]
        means = [float(losses([(i, basis, batch)])[0]) for batch in learner.held_out]
        mean = sum(m * n for m, n in zip(means, sizes, strict=True)) / sum(sizes)
        bests[i].see(mean + cost, basis)


def _gradients(
    learners: Sequence[Learner[Batch]],
    frees: Sequence[Tensor],
    epoch: int,
    batches: Mapping[int, Batch],
    losses: Callable[[Sequence[tuple[int, Tensor, Batch]]], Tensor],
    pieces: int,
) -> Gradients:
    """Loss and gradient per learner, with each batch split into ``pieces``."""
    found: Gradients = {}
    for piece in range(pieces):
        parts = {i: _piece(batch, piece, pieces) for i, batch in batches.items()}
        step = [
            (i, trained_basis(learners[i].options, frees[i], epoch), part)
            for i, (part, share) in parts.items()
            if share
        ]
        if not step:
            continue
        values = losses(step)
        costs = [cost_of(learners[i].options, frees[i], basis) for i, basis, _ in step]
        values = values + torch.stack(costs)
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


class _Unread:
    """The losses of an epoch's steps, on their way to the curve that their mean belongs to."""

    def __init__(self, curve: list[float], steps: Sequence[Loss]):
        self._curve, self._shares = curve, [[share for _, share in loss] for loss in steps]
        self._arrived = fetched(torch.stack([value for loss in steps for value, _ in loss]))

    def read(self) -> None:
        """Add the mean to the curve."""
        read = iter(self._arrived().tolist())
        values = [sum(next(read) * share for share in shares) for shares in self._shares]
        if not all(map(math.isfinite, values)):
            raise RunFailure(
                "the loss of a learned subspace is not a finite number",
                "try a lower learning rate",
            )
        self._curve.append(sum(values) / len(values))


def _read(unread: Iterable[_Unread]) -> None:
    for losses in unread:
        losses.read()


def _rate(options: DasOptions, epoch: int) -> float:
    done = epoch / options.epochs
    if options.decay == "linear":
        return options.lr * (1.0 - done)
    if options.decay == "cosine":
        return options.lr * 0.5 * (1.0 + math.cos(math.pi * done))
    return options.lr
