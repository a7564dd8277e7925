"""Prompts that begin alike: which first tokens a clean run computes once for several of them.

What a decoder computes at a position depends on the tokens up to it alone, so prompts that share
their first tokens share all that is computed there. In the order of their tokens a prompt shares
most with the one before it: of that one's positions those that both have are taken, the others
are computed. All of it is decided by the prompts of a clean run, whatever else is run or kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from causaldsl.plan.chunks import CONE_TOKENS

LEAST_SAVED = 0.08
"""The share of positions from which sharing repays the gathering of keys and values."""
_SPREAD = 8
"""How many times as many positions may be attended to together as are computed."""

Ids = tuple[float, ...]


@dataclass(frozen=True)
class Part:
    """Prompts that go through the model together: ``rows`` of the run, in the order of tokens.

    The first ``shared`` of each one's tokens (its length is in ``lengths``) are those of the one
    before it; nothing of the first one is.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...]
    shared: tuple[int, ...]

    @property
    def own(self) -> list[int]:
        """How many positions are computed for each prompt; none where it is there already."""
        pairs = zip(self.lengths, self.shared, strict=True)
        return [length - shared for length, shared in pairs]

    @property
    def positions(self) -> int:
        """How many positions are computed."""
        return sum(self.own)

    def windows(self) -> Iterator[list[int]]:
        """Places of prompts whose own positions attend together, over a window of the longest.

        That is at most twice what the others have.
        """
        own = self.own
        order = sorted((i for i, count in enumerate(own) if count), key=lambda i: -own[i])
        first = 0
        for i, place in enumerate(order):
            if 2 * own[place] <= own[order[first]]:
                yield order[first:i]
                first = i
        yield order[first:]


def shared_parts(prompts: Sequence[Ids], at_once: int = CONE_TOKENS) -> list[Part] | None:
    """Parts of at most ``at_once`` computed positions (or one prompt); None if too little is saved.

    >>> [part] = shared_parts([(0, 7, 4), (0, 7, 5, 6), (0, 7, 4)])
    >>> part.rows, part.shared, part.positions
    ((0, 2, 1), (0, 3, 2), 5)
    >>> shared_parts([(1, 2), (3, 4)]) is None
    True
    """
    parts: list[Part] = []
    some: list[tuple[int, int]] = []  # row, shared
    positions = longest = 0
    before: Ids = ()
    for row in sorted(range(len(prompts)), key=prompts.__getitem__):
        ids = prompts[row]
        shared = _common(before, ids) if some else 0
        longest = max(longest, len(ids))
        spread = (len(some) + 1) * longest > _SPREAD * at_once
        if some and (spread or positions + len(ids) - shared > at_once):
            parts.append(_part(prompts, some))
            some, positions, longest, shared = [], 0, len(ids), 0
        some.append((row, shared))
        positions += len(ids) - shared
        before = ids
    parts.append(_part(prompts, some))
    computed, whole = sum(part.positions for part in parts), sum(map(len, prompts))
    return parts if computed <= (1 - LEAST_SAVED) * whole else None


def _part(prompts: Sequence[Ids], some: Sequence[tuple[int, int]]) -> Part:
    rows, shared = zip(*some, strict=True)
    return Part(rows, tuple(len(prompts[row]) for row in rows), shared)


def _common(one: Ids, other: Ids) -> int:
    """How many first tokens two prompts share."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
