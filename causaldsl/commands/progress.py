"""What is being done now: a bar in a terminal, else plain lines."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from causaldsl.commands.output import complain
from causaldsl.shown import visible

if TYPE_CHECKING:
    from causaldsl.plan.settings import Progress as Told

_EVERY = 30.0
"""Seconds between two lines of progress."""


@contextmanager
def bars() -> Iterator[Told]:
    """A bar for what is being done now, and where nobody watches a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    watched = Console(stderr=True)
    if not watched.is_terminal:
        yield progress_lines(complain)
        return
    said, left = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[left]}")
    with Progress(
        said, BarColumn(), left, TimeElapsedColumn(), console=watched, transient=True
    ) as shown:
        task, pace = shown.add_task("starting", total=None, left=""), _Pace()

        def update(what: str, done: int, total: int) -> None:
            left = pace.left(what, done, total)
            shown.update(
                task, description=visible(what), completed=done, total=total or None, left=left
            )

        yield update


class _Pace:
    """How far the work of one name is, and how long the rest of it takes at the pace so far."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock, self.what, self.since, self.begun = clock, "", 0.0, 0

    def left(self, what: str, done: int, total: int) -> str:
        """`12 of 40, about 3 min left`; nothing if it is not known how much there is."""
        if what != self.what or done < self.begun:
            self.what, self.since, self.begun = what, self.clock(), done
        if not total:
            return ""
        said, made = f"{done} of {total}", done - self.begun
        if not made or done >= total:
            return said
        return f"{said}, about {_lasting((self.clock() - self.since) * (total - done) / made)} left"


def _lasting(seconds: float) -> str:
    """
    >>> _lasting(4.2), _lasting(200), _lasting(7300)
    ('5 s', '4 min', '2.0 h')
    """
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def progress_lines(say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Told:
    """Progress as plain lines, at most one in half a minute: a short run says nothing."""
    pace, last = _Pace(clock), clock()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        left = pace.left(what, done, total)
        if clock() - last >= _EVERY:
            last = clock()
            say(f"{what}: {left}" if left else what)

    return tell
