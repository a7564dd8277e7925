"""Ties at the cut where the largest of some numbers are taken.

Numbers that are equal, or differ by no more than rounding does to them, have no order of their own:
of equal ones the first is taken, and with rounding another machine may take another one. Who takes
the largest says so.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from causaldsl.engine.metrics import ROUNDING

_NAMED = 6
"""Members of a tie that are named."""


def tie_at(sizes: Tensor, order: list[int], count: int, dtype: str) -> list[int]:
    """Which of the numbers (c,) are one with the last that is taken, where one of them is not.

    ``order`` are all of them from the largest on, of which ``count`` are taken; nothing where the
    cut is clear.
    """
    if not 0 < count < len(order):
        return []
    last, next_ = sizes[order[count - 1]], sizes[order[count]]
    close = ROUNDING[dtype] * float(sizes.abs().max())
    if float(last - next_) > close:
        return []
    return [i for i in order if abs(float(sizes[i] - last)) <= close]


def said_of_tie(what: str, tied: list[int], name: Callable[[int], str]) -> str:
    """A note that a choice is not clear."""
    listed = ", ".join(map(name, tied[:_NAMED])) + (", .." if len(tied) > _NAMED else "")
    return (
        f"{what}: {listed} differ by no more than rounding, and not all of them are in it; of "
        "equal ones the first is taken"
    )
