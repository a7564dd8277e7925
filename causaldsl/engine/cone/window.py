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

from causaldsl.engine.cone.rotary import Turn
from causaldsl.engine.cone.weights import Decoder, Kind
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

    def past_masked(self, device: torch.device, seen: int | None) -> Tensor | None:
        """(1 or A, n, 1, 1 or S, left): True where a query may not see such a position to its left.

        It may not where its row has none, or where it lies further back than ``seen``.
        """
        masked, keys = None, torch.arange(self.left)
        if self.even is None:
            masked = (keys >= _by_arm(self.starts)[..., None])[:, :, None, None]
        if seen is not None and self.left + self.size > seen:
            queries = _with_arms(self.positions())[..., None]
            far = (keys <= queries - seen)[:, :, None]
            masked = far if masked is None else masked | far
        return None if masked is None else placed(masked, device)

    def own_masked(self, device: torch.device, seen: int | None) -> Tensor | None:
        """(1 or A, n or 1, 1, S, S): True where the query's column may not see the key's."""
        if self.size == 1:
            return None
        ones = torch.ones(self.size, self.size, dtype=torch.bool, device=device)
        masked = ones.triu(1)
        if seen is not None and self.size > seen:
            masked |= ones.tril(-seen)
        masked = masked[None, None, None]
        if bool((self.starts < 0).any()):
            junk = _by_arm(self.starts)[..., None] + torch.arange(self.size) < 0
            # A junk query still sees itself: a softmax over nothing is not a number.
            sees_junk = junk[:, :, None, None] & ~torch.eye(self.size, dtype=torch.bool)
            masked = masked | placed(sees_junk, device)
        return masked


def _by_arm(starts: Tensor) -> Tensor:
    return starts if starts.dim() == 2 else starts[None]


def _with_arms(positions: Tensor) -> Tensor:
    return positions if positions.dim() == 3 else positions[None]


@dataclass(frozen=True, eq=False)
class Geometry:
    """What the layers of a kind need to know of positions in a pass, worked out once.

    ``turn`` is at (1 or A, n or 1, S, 1, d_head), the biases of scores are (1 or A, n or 1,
    kv_heads, shared, 1, keys).
    """

    turn: Turn | None
    past_masked: Tensor | None
    own_masked: Tensor | None
    past_bias: Tensor | None = None
    own_bias: Tensor | None = None

    def take(self, arms: int) -> Geometry:
        """The geometry of the first ``arms`` only."""

        def first(x: Tensor | None) -> Tensor | None:
            return x if x is None or len(x) == 1 else x[:arms]

        turn = self.turn
        if turn is not None and len(turn.cos) > 1:
            turn = turn.map(lambda table: table[:arms])
        return Geometry(
            turn,
            first(self.past_masked),
            first(self.own_masked),
            self.past_bias,
            first(self.own_bias),
        )


def geometries(decoder: Decoder, window: Window) -> tuple[Geometry, ...]:
    """One for each of the decoder's kinds of layers."""
    return tuple(_geometry(decoder, kind, window) for kind in decoder.kinds)


def _geometry(decoder: Decoder, kind: Kind, window: Window) -> Geometry:
    device, positions = kind.device, window.positions()
    past_bias = own_bias = None
    if kind.alibi is not None:
        form = decoder.n_kv_heads, decoder.embed.dtype
        own_bias = kind.alibi(_with_arms(positions), *form)
        past_bias = kind.alibi(torch.arange(window.left)[None, None], *form)
    return Geometry(
        _turn(decoder, kind, window),
        window.past_masked(device, kind.window) if window.left else None,
        window.own_masked(device, kind.window),
        past_bias,
        own_bias,
    )


def _turn(decoder: Decoder, kind: Kind, window: Window) -> Turn | None:
    positions = window.positions()
    if kind.rotary is None or window.even is None:
        return turn_at(decoder, kind, _with_arms(positions))
    whole = kind.rotary(int(positions.max()) + 1, kind.device, decoder.embed.dtype)
    same = slice(window.even, window.even + window.size)
    return whole.map(lambda table: table[same][None, None, :, None])


def turn_at(decoder: Decoder, kind: Kind, positions: Tensor) -> Turn | None:
    """The turns of token indices (1 or A, n, S); None where nothing turns."""
    if kind.rotary is None:
        return None
    whole = kind.rotary(int(positions.max()) + 1, kind.device, decoder.embed.dtype)
    chosen = placed(positions, kind.device)
    return whole.map(lambda table: table[chosen].unsqueeze(3))
