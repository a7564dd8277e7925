"""Which positions a pass computes: the last S of each prompt, whatever the prompts' lengths.

Row i of a window holds the positions ``starts[i]`` to ``starts[i] + S - 1`` = T_i - 1, so prompts
of different lengths end in the same column and go through the model together. A prompt shorter than
S leaves junk in its first columns (negative positions), which no valid position attends to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.transfer import placed


@dataclass(frozen=True, eq=False)
class Window:
    """``starts`` on the CPU, the first position of each row; ``size`` columns each.

    They are (n,), the prompts of every arm of a pass, or (A, n) where the arms' prompts differ.
    """

    starts: Tensor
    size: int

    def take(self, rows: slice | Tensor) -> Window:
        return Window(self.starts[rows], self.size)

    @cached_property
    def even(self) -> int | None:
        """The start that all rows share; None if they differ or begin before their prompts."""
        first = int(self.starts.flatten()[0]) if self.starts.numel() else 0
        return first if first >= 0 and bool((self.starts == first).all()) else None

    @cached_property
    def left(self) -> int:
        """How many positions there are to the left of the window, in the row with most."""
        return max(0, int(self.starts.max())) if self.starts.numel() else 0

    def positions(self) -> Tensor:
        """Token indices (n, S) or (A, n, S); (1, S) if all share them; junk columns say 0."""
        starts = self.starts if self.even is None else self.starts.flatten()[:1]
        return (starts[..., None] + torch.arange(self.size)).clamp_min(0)

    def of(self, x: Tensor) -> Tensor:
        """The window (n, S, ...) of something left-aligned, (n, T, ...); for (n,) starts."""
        if self.even is not None:
            return x[:, self.even : self.even + self.size]
        rows = torch.arange(len(x), device=x.device)[:, None]
        return x[rows, placed(self.positions(), x.device)]

    def tokens(self, tokens: Tensor) -> Tensor:
        """The window (..., n, S) of token ids (..., n, T)."""
        if self.even is not None:
            return tokens[..., self.even : self.even + self.size]
        positions = placed(self.positions(), tokens.device)
        return tokens.gather(-1, positions.expand(*tokens.shape[:-1], -1))

    def past_masked(self, device: torch.device) -> Tensor | None:
        """(1 or A, n, 1, 1, left): True where a row has no such position to its left."""
        if self.even is not None:
            return None
        beyond = torch.arange(self.left) >= _by_arm(self.starts)[..., None]
        return placed(beyond[:, :, None, None], device)

    def own_masked(self, device: torch.device) -> Tensor | None:
        """(1 or A, n or 1, 1, S, S): True where the query's column may not see the key's."""
        if self.size == 1:
            return None
        square = torch.ones(self.size, self.size, dtype=torch.bool, device=device)
        later = square.triu(1)[None, None, None]
        if bool((self.starts < 0).any()):
            junk = _by_arm(self.starts)[..., None] + torch.arange(self.size) < 0
            # A junk query still sees itself: a softmax over nothing is not a number.
            sees_junk = junk[:, :, None, None] & ~torch.eye(self.size, dtype=torch.bool)
            later = later | placed(sees_junk, device)
        return later


def _by_arm(starts: Tensor) -> Tensor:
    return starts if starts.dim() == 2 else starts[None]


@dataclass(frozen=True, eq=False)
class Geometry:
    """What every layer of a pass over a window needs to know of it, worked out once.

    ``rotary`` are cosines and sines (1 or A, n or 1, S, 1, d_head).
    """

    left: int
    rotary: tuple[Tensor, Tensor] | None
    past_masked: Tensor | None
    own_masked: Tensor | None

    def take(self, arms: int) -> Geometry:
        """The same for the first arms only."""

        def first(x: Tensor | None) -> Tensor | None:
            return x if x is None or len(x) == 1 else x[:arms]

        rotary = self.rotary
        if rotary is not None and len(rotary[0]) > 1:
            rotary = rotary[0][:arms], rotary[1][:arms]
        return Geometry(self.left, rotary, first(self.past_masked), first(self.own_masked))


def geometry(decoder: Decoder, window: Window) -> Geometry:
    device = decoder.embed.device
    return Geometry(
        window.left,
        _rotation(decoder, window),
        window.past_masked(device) if window.left else None,
        window.own_masked(device),
    )


def _rotation(decoder: Decoder, window: Window) -> tuple[Tensor, Tensor] | None:
    """Rotation turns (a, b), the halves of a head, into (a cos - b sin, b cos + a sin)."""
    if decoder.rotary is None:
        return None
    positions = window.positions()
    tables = decoder.rotary(int(positions.max()) + 1, decoder.embed[:1])
    if window.even is not None:
        cos, sin = (table[window.even : window.even + window.size] for table in tables)
        return cos[None, None, :, None], sin[None, None, :, None]
    chosen = placed(positions, tables[0].device)
    chosen = chosen if chosen.dim() == 3 else chosen[None]
    cos, sin = (table[chosen].unsqueeze(3) for table in tables)
    return cos, sin
