"""Which arms go through the model together, and which prompts of them.

Arms share a pass when they need equally many last positions (S) and hold the same components. In a
pass they are in the order of their entries, so that it starts with few and ends with all. The
positions computed together are bounded: prompts are split only if one arm alone has more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.backend import Pass
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.transfer import placed
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.entries import Entry, entry_of
from causaldsl.plan.freeze import Freeze


@dataclass(frozen=True, eq=False)
class Part:
    """One forward pass: some arms of a pass, over some of its prompts.

    ``arms`` and ``places`` say which of the pass's arms and prompts; ``rows`` are the prompts' rows
    in the clean run, (n,) or (A, n).
    """

    arms: list[int]
    places: slice
    rows: slice | Tensor
    edits: list[list[Edit]]
    entries: list[Entry]
    reads: list[Read]
    size: int
    freeze: Freeze | None

    def of_arms(self, x: Tensor, dims: int) -> Tensor:
        """The part (arms, n, ...) of something that is by prompt.

        It has ``dims`` dimensions, (n, ...), if it is the same for all arms, else one more.
        """
        if x.dim() > dims:
            if self.arms == list(range(len(x))):
                return x[:, self.places]
            return x[placed(torch.tensor(self.arms), x.device), self.places]
        return x[self.places].expand(len(self.arms), *x[self.places].shape)


@dataclass(frozen=True)
class _Alike:
    """What arms must have in common to share a pass."""

    size: int
    freeze: Freeze | None
    does_nothing: bool


def parts(
    wanted: Pass[Any], lengths: Tensor, shapes: ModelDims, positions_at_once: int
) -> Iterator[Part]:
    """Parts that make up a pass, ``positions_at_once`` positions each at most, or one prompt.

    ``lengths`` (n,) or (A, n) are those of the pass's rows.
    """
    reads, hold = wanted.reads, wanted.hold
    together: dict[_Alike, list[tuple[Entry, int]]] = {}
    known: dict[tuple[int, int], int] = {}  # most arms are at the same positions

    def size(items: Sequence[Edit | Read], arm: int) -> int:
        own, key = (lengths[arm], arm) if lengths.dim() == 2 else (lengths, 0)
        for item in items:
            if (id(item.positions), key) not in known:
                known[id(item.positions), key] = size_of([item], own)
        return max((known[id(item.positions), key] for item in items), default=1)

    for arm, edits in enumerate(wanted.arms):
        items: list[Edit | Read] = [*edits, *reads]
        freed = None if hold is None else hold.freeing([e.site for e in edits], shapes)
        alike = _Alike(size(items, arm), freed, not items)
        entries = [entry_of(item.site, shapes.n_layers) for item in items]
        entry = min(entries, default=Entry(shapes.n_layers))
        together.setdefault(alike, []).append((entry, arm))
    count = lengths.shape[-1]
    for alike, members in together.items():
        members.sort(key=lambda member: member[0])
        spread = max((e.spread for _, arm in members for e in wanted.arms[arm]), default=1)
        at_once = max(1, positions_at_once // (alike.size * spread))
        arms_at_once = max(1, at_once // max(1, count))
        for begin in range(0, len(members), arms_at_once):
            chosen = members[begin : begin + arms_at_once]
            for first in range(0, count, at_once):
                places = slice(first, first + at_once)
                yield _part(wanted, chosen, places, alike, cuts=at_once < count)


def _part(
    wanted: Pass[Any], members: list[tuple[Entry, int]], places: slice, alike: _Alike, cuts: bool
) -> Part:
    """Some arms, over some prompts; all of them unless it ``cuts``."""
    chosen, rows = [arm for _, arm in members], wanted.rows
    if rows is None:
        taken: slice | Tensor = places
    else:
        taken = rows[chosen, places] if rows.dim() == 2 else _simplest(rows[places])
    return Part(
        chosen,
        places,
        taken,
        [[edit.take(places) if cuts else edit for edit in wanted.arms[arm]] for arm in chosen],
        [entry for entry, _ in members],
        [Read(r.site, r.positions[places]) if cuts else r for r in wanted.reads],
        alike.size,
        alike.freeze,
    )


def _simplest(rows: Tensor) -> slice | Tensor:
    """A slice where rows follow each other: it takes a view, and nothing is copied."""
    first, count = int(rows[0]) if len(rows) else 0, len(rows)
    run = torch.arange(first, first + count)
    return slice(first, first + count) if torch.equal(rows.cpu(), run) else rows


def put_together(found: Sequence[tuple[Part, Tensor]], count: int) -> Tensor:
    """The answers of the parts, (arms, n, ...) each, in the order of the pass: (A, n, ...)."""
    if len(found) == 1 and found[0][0].arms == list(range(count)):
        return found[0][1]
    by_arm: list[list[Tensor]] = [[] for _ in range(count)]
    for part, values in found:
        for arm, value in zip(part.arms, values.unbind(0), strict=True):
            by_arm[arm].append(value)
    whole = [pieces[0] if len(pieces) == 1 else torch.cat(pieces) for pieces in by_arm]
    return whole[0][None] if count == 1 else torch.stack(whole)


def size_of(items: Sequence[Edit | Read], lengths: Tensor) -> int:
    """How many last positions of the prompts reach all items; at least one."""
    return max((int((lengths - first_of(i.positions)).max()) for i in items), default=1)


def first_of(positions: Tensor) -> Tensor:
    """The first (n,) of some positions (n, k). Most are one, and a minimum wakes all threads."""
    return positions[:, 0] if positions.shape[1] == 1 else positions.amin(1)
