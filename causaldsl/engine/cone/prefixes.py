"""Where a clean pass computes its prompts: each in a place of its own, or what they share once.

In ``Rows`` x is (1, n, T, ...), n prompts of T columns. In ``SharedRows`` it is (1, 1, U, ...), a
column for each of the U different beginnings of the prompts (``plan/prefixes.py``), and token t of
prompt i is in column c(i, t). What acts on a position alone is so computed U times. Attention is
computed prompt by prompt, for the columns that are the prompt's own, over the keys and values of
all its tokens::

    z[c(i, t)] = sum_j softmax_j(scale q[c(i, t)] k[c(i, j)]) v[c(i, j)],    j <= t

A column stands at the same t in every prompt that has it, and so has one rotary turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from causaldsl.engine.cone.attention import attend
from causaldsl.engine.cone.pattern import Tokens, by_head
from causaldsl.engine.cone.weights import Attention, Decoder
from causaldsl.engine.cone.window import Geometry, Window, geometries, turn_at
from causaldsl.engine.transfer import placed
from causaldsl.plan.prefixes import Part

Seen = Callable[[Tensor], object]
"""Told the weights of attention by column and token, (1, 1, U, heads, T)."""


class Rows:
    """Prompts (n, T) on the left of their rows, of which a clean run keeps a ``window``.

    ``tokens`` are (1, n, T) and ``positions`` (1, T) their indices; ``computed`` counts them.
    """

    shared: SharedAttention | None = None

    def __init__(self, decoder: Decoder, tokens: Tensor, lengths: Tensor, window: Window):
        whole = Window(torch.zeros(len(tokens), dtype=torch.long), tokens.shape[1])
        self.tokens, self.positions = tokens[None], whole.positions()
        self.geometries = geometries(decoder, whole)
        self.computed = tokens.numel()
        self._lengths, self._window = lengths, window

    def columns(self, positions: Tensor) -> Tensor:
        """Where token indices (n, k) are computed."""
        return positions

    def cut(self, x: Tensor) -> Tensor:
        """The window (n, S, ...) of x (n, T, ...)."""
        return self._window.of(x).clone()

    def first(self, x: Tensor, left: int) -> Tensor:
        """The first positions (n, kv_heads, left, d_head) of keys or values of all."""
        return x[:, :, :left].clone()

    def last(self, x: Tensor) -> Tensor:
        """The last position (n, d) of each prompt."""
        rows = torch.arange(len(x), device=x.device)
        return x[rows, placed(self._lengths - 1, x.device)]


class SharedRows(Rows):
    """Prompts that begin alike, a single row of columns; ``part`` says what they share.

    ``tokens`` (n, T) and all else are in the order of the part; ``longest`` is the run's longest
    prompt.
    """

    def __init__(self, decoder: Decoder, tokens: Tensor, part: Part, window: Window, longest: int):
        device = tokens.device
        columns, at, owner = _columns(part, tokens.shape[1])
        self.tokens = tokens[placed(owner, device), placed(at, device)][None, None]
        self.positions, self.computed = at[None], len(at)
        self.geometries = tuple(
            Geometry(turn_at(decoder, kind, at[None, None]), None, None) for kind in decoder.kinds
        )
        self.shared = SharedAttention(decoder, part, columns, longest)
        ends = torch.tensor(part.lengths)[:, None] - 1
        kept = window.positions().expand(len(columns), -1)
        self._columns, self._on_device = columns, placed(columns, device)
        self._kept = placed(columns.gather(1, kept), device)
        self._ends = placed(columns.gather(1, ends)[:, 0], device)

    def columns(self, positions: Tensor) -> Tensor:
        return self._columns.gather(1, positions)

    def cut(self, x: Tensor) -> Tensor:
        return x[0, placed(self._kept, x.device)]

    def first(self, x: Tensor, left: int) -> Tensor:
        return x[0][:, placed(self._on_device[:, :left], x.device)].transpose(0, 1).contiguous()

    def last(self, x: Tensor) -> Tensor:
        return x[0, self._ends]


@dataclass(frozen=True, eq=False)
class _Together:
    """Prompts whose own columns attend over one window: columns of the window, and left of it."""

    window: Window
    own: Tensor
    left: Tensor
    geometries: tuple[Geometry, ...]


class SharedAttention:
    """Attention where prompts share columns. Weights are told for ``longest`` tokens."""

    def __init__(self, decoder: Decoder, part: Part, columns: Tensor, longest: int):
        device, own = decoder.embed.device, part.own
        lengths, self._longest = torch.tensor(part.lengths), longest
        self._together: list[_Together] = []
        back, count = torch.empty(part.positions, dtype=torch.long), 0
        for places in part.windows():
            size = own[places[0]]
            window = Window(lengths[places] - size, size)
            taken = columns[places]
            mine = taken.gather(1, window.positions().expand(len(places), -1))
            for row, place in enumerate(places):
                end = (row + 1) * size + count
                back[mine[row, size - own[place] :]] = torch.arange(end - own[place], end)
            count += mine.numel()
            left = placed(taken[:, : window.left], device)
            where = geometries(decoder, window)
            self._together.append(_Together(window, placed(mine, device), left, where))
        self._back = placed(back, device)

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, attention: Attention, seen: Seen | None
    ) -> Tensor:
        """z (1, 1, U, heads, d_head) for turned queries and keys of that shape, and values."""
        found: list[Tensor] = []
        weights: list[Tensor] = []
        for some in self._together:
            mine, before = (placed(at, q.device) for at in (some.own, some.left))
            own, left = ([x[0, 0, at] for x in (k, v)] for at in (mine, before))
            keys, values = (x.transpose(1, 2)[None] for x in own)
            past_keys, past_values = (x.transpose(1, 2)[None] for x in left)
            past = (past_keys, past_values) if some.window.left else None
            change = None if seen is None else partial(self._by_token, some.window, weights)
            where = some.geometries[attention.kind]
            queries = q[0, 0, mine][None]
            found.append(attend(queries, keys, values, past, attention, where, change))
        if seen is not None:
            seen(self._put_back(weights))
        return self._put_back(found)

    def _by_token(self, window: Window, found: list[Tensor], weights: Tensor) -> Tensor:
        tokens = Tokens(window.starts, window.left, window.size, weights.device)
        found.append(tokens.by_token(by_head(weights, window.size), self._longest))
        return weights

    def _put_back(self, found: list[Tensor]) -> Tensor:
        """(1, 1, U, ...) from (1, n, S, ...) of those that go together."""
        rows = [x[0].flatten(0, 1) for x in found]
        whole = rows[0] if len(rows) == 1 else torch.cat(rows)
        return whole[placed(self._back, whole.device)][None, None]


def _columns(part: Part, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The columns (n, T) of all tokens, and of each column its token's index and first prompt.

    Behind a prompt's end stands its last column, which none of its own positions sees.
    """
    columns: list[list[int]] = []
    at: list[int] = []
    owner: list[int] = []
    for place, (length, shared) in enumerate(zip(part.lengths, part.shared, strict=True)):
        before = columns[-1][:shared] if shared else []
        row = [*before, *range(len(at), len(at) + length - shared)]
        columns.append(row + row[-1:] * (width - length))
        at += range(shared, length)
        owner += [place] * (length - shared)
    return torch.tensor(columns), torch.tensor(at), torch.tensor(owner)
