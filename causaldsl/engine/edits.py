"""One write into a forward pass, and one read out of it.

For a site's activation x at the edited positions (n prompts, k positions each, width d)::

    set:   x := x + (value - x) Q Q^T        (Q Q^T = identity when there is no basis, or diag(m))
    add:   x := x + value

An interchange intervention is a ``set`` whose value comes from the source run; zero, mean and
resample ablation are ``set`` with other values; steering is ``add``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.transfer import placed
from causaldsl.engine.upcast import upcast
from causaldsl.model.sites import Site


@dataclass(frozen=True)
class Read:
    """Record the activation of ``site`` at ``positions`` (n, k), token indices of each prompt."""

    site: Site
    positions: Tensor


class Changes:
    """How far each of m edits that were made at once moved an activation at most, (m,)."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    @cached_property
    def values(self) -> list[float]:
        """Read when first asked for: a GPU is not waited for before."""
        found: list[float] = self.tensor.tolist()
        return found


class Watch:
    """How often an edit was made, and the largest change that it made to any activation."""

    def __init__(self) -> None:
        self.times = 0
        self._seen: list[tuple[Changes, int]] = []
        self._before = 0.0

    def go_on(self, times: int, largest: float) -> None:
        """The edit was made so often in a run that was stopped, with this largest change."""
        self.times, self._before = times, largest

    def see(self, changes: Changes, index: int = 0) -> None:
        """The edit was made, as one of several."""
        self.times += 1
        self._seen.append((changes, index))

    def unread(self) -> Iterator[Changes]:
        return (changes for changes, _ in self._seen if "values" not in vars(changes))

    @property
    def largest(self) -> float:
        seen = [changes.values[index] for changes, index in self._seen]
        return max([self._before, *seen])


def read_changes(watches: Iterable[Watch]) -> None:
    """Read what all watches have seen at once, where a GPU has to be waited for."""
    unread = {id(c): c for watch in watches for c in watch.unread()}
    read = iter(torch.cat([c.tensor for c in unread.values()]).tolist() if unread else ())
    for changes in unread.values():
        changes.values = [next(read) for _ in range(len(changes.tensor))]


def moved(old: Tensor, new: Tensor) -> Changes:
    """The largest change in each of m activations (m, ...)."""
    apart = (new - old).detach().abs().flatten(1)
    return Changes(apart.amax(1) if apart.numel() else apart.new_zeros(len(apart)))


@dataclass(frozen=True)
class Edit:
    """Change the activation of ``site`` at ``positions`` (n, k).

    ``value`` is (n, k, d); ``basis`` is (d, r) with orthonormal columns, or (d,) the gates m of the
    coordinates, or None for the whole space. Gradients flow to ``value`` and ``basis``.
    """

    site: Site
    positions: Tensor
    value: Tensor
    basis: Tensor | None = None
    add: bool = False
    watch: Watch | None = field(default=None, compare=False)

    @property
    def spread(self) -> int:
        """By how much more memory a pass takes for it."""
        return 1

    def take(self, rows: Tensor | slice) -> Edit:
        """The same edit for some of the prompts."""
        return replace(self, positions=self.positions[rows], value=self.value[rows])

    def apply(self, x: Tensor) -> Tensor:
        """The new activation for the old one, both (n, k, d)."""
        new = self._changed(x)
        if self.watch is not None:
            self.watch.see(moved(x[None], new[None]))
        return new

    def _changed(self, x: Tensor) -> Tensor:
        if not self.add and self.basis is None:
            return self.value.to(x)
        old = upcast(x)
        value = self.value.to(old)
        if self.basis is None:
            return (old + value).to(x)
        return (old + along(value - old, self.basis)).to(x)


@dataclass(frozen=True)
class CutKeys(Edit):
    """Attend to some tokens no more: ``value`` (n, k, T) is 1 for a key that is kept, else 0.

    As if the scores of the others were minus infinity: p := p value / (what is left of all shares).
    With a ``sink`` p adds up to less than 1, and the sink takes its part of what is left.
    """

    sink: bool = False

    def _changed(self, x: Tensor) -> Tensor:
        old = upcast(x)
        kept = old * self.value.to(old)
        left = kept.sum(-1, keepdim=True)
        if self.sink:
            left = left + (1 - old.sum(-1, keepdim=True))
        if not bool((left > 0).all()):
            message = f"{self.site} attends to nothing but what is cut, as far as numbers go"
            raise RunFailure(message, "cut less of it")
        return (kept / left).to(x)


def along(change: Tensor, basis: Tensor) -> Tensor:
    """The part of a change (.., d) along a basis (d, r), or what gates (d,) let through of it."""
    there = basis.to(change)
    return change * there if there.dim() == 1 else (change @ there) @ there.T


def needs_grad(edits: Iterable[Edit]) -> bool:
    """Whether a pass with these edits must be remembered for a gradient."""
    tensors = (x for edit in edits for x in (edit.value, edit.basis))
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def gather(x: Tensor, positions: Tensor) -> Tensor:
    """(n, T, d) at (n, k) token indices: (n, k, d)."""
    return x[torch.arange(len(x), device=x.device)[:, None], placed(positions, x.device)]


def scatter(x: Tensor, positions: Tensor, new: Tensor) -> Tensor:
    """A copy of x (n, T, d) with ``new`` (n, k, d) at the given token indices."""
    out = x.clone()
    out[torch.arange(len(x), device=x.device)[:, None], placed(positions, x.device)] = new
    return out
