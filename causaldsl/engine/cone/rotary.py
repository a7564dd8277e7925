"""Rotary position embeddings: dimensions of a query or key turn in pairs, by position.

For a pair (a, b) and an angle that is the position times the pair's frequency::

    (a, b) := (a cos - b sin, b cos + a sin)

which is ``x * cos + x' * sin``, where x' has each pair's two dimensions exchanged and sin has a
minus sign at the first. Dimensions that do not turn have cos 1 and sin 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.exact import exact

Angles = Callable[[int], tuple[Tensor, Tensor]]
"""Cosines and sines (T, pairs) of the first T positions."""


@dataclass(frozen=True, eq=False)
class Turn:
    """Cosines and signed sines (..., d_head) at some positions.

    ``exchanged`` (d_head,) is the other dimension of each one's pair; None if the pairs are a
    head's two halves.
    """

    cos: Tensor
    sin: Tensor
    exchanged: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(x * self.cos, self._exchange(x), self.sin)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient of x, for that of the turned x. Exchanging twice undoes itself."""
        return torch.addcmul(
            gradient * self.cos, self._exchange(gradient), self._exchange(self.sin)
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> Turn:
        """The rotation with ``change`` made to its tables, as for other positions."""
        return Turn(change(self.cos), change(self.sin), self.exchanged)

    def _exchange(self, x: Tensor) -> Tensor:
        if self.exchanged is None:
            return x.roll(x.shape[-1] // 2, dims=-1)
        return x.index_select(-1, self.exchanged)


class Rotary:
    """Turns the first ``dims`` of ``d_head`` dimensions; keeps tables of the longest prompt so far.

    Pairs are the halves of these dimensions, or with ``interleaved`` neighbours. ``limit`` is the
    longest prompt that the frequencies are right for, if there is one.
    """

    def __init__(
        self,
        angles: Angles,
        dims: int,
        d_head: int,
        interleaved: bool = False,
        limit: int | None = None,
    ):
        self.limit = limit
        self._angles, self._interleaved, self._rest = angles, interleaved, d_head - dims
        first = torch.arange(dims)
        second = first ^ 1 if interleaved else first.roll(dims // 2)
        by_halves = not interleaved and not self._rest
        self._exchanged = None if by_halves else torch.cat((second, torch.arange(dims, d_head)))
        self._turn: Turn | None = None

    def __call__(self, length: int, device: torch.device, dtype: torch.dtype) -> Turn:
        """The turns of the first ``length`` positions, or more, (T, d_head)."""
        if self._turn is None or len(self._turn.cos) < length:
            with exact(dtype):
                tables = self._angles(length)
            cos, sin = (table.to(device, dtype) for table in tables)
            exchanged = self._exchanged
            self._turn = Turn(
                self._spread(cos, cos, 1.0),
                self._spread(-sin, sin, 0.0),
                None if exchanged is None else exchanged.to(device),
            )
        return self._turn

    def _spread(self, first: Tensor, second: Tensor, rest: float) -> Tensor:
        """Values for each pair's two dimensions, in their places; and for those that don't turn."""
        if self._interleaved:
            turned = torch.stack((first, second), dim=-1).flatten(1)
        else:
            turned = torch.cat((first, second), dim=-1)
        return torch.cat((turned, turned.new_full((len(turned), self._rest), rest)), dim=-1)


def by_frequency(frequencies: Tensor, scale: float) -> Angles:
    """Angles from each pair's frequency, in radians a position; ``scale`` multiplies the tables."""

    def angles(length: int) -> tuple[Tensor, Tensor]:
        ids = torch.arange(length, device=frequencies.device).to(frequencies.dtype)
        turned = ids[:, None] * frequencies
        return turned.cos() * scale, turned.sin() * scale

    return angles


def from_table(table: Tensor) -> Angles:
    """Angles from a table (T, 2 pairs) of sines, then cosines, as GPT-J keeps it."""

    def angles(length: int) -> tuple[Tensor, Tensor]:
        sin, cos = table[:length].chunk(2, dim=-1)
        return cos, sin

    return angles
