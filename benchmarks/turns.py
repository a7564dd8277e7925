"""Several sides do the same work in turn, and their outputs are compared.

Every repetition runs each side once, ours first, so that a busy machine is busy for all; the first
repetition is warm-up. A ratio is the other side's seconds by ours in the same repetition.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

LOGITS, LOSS = 1e-3, 1e-4
"""How far outputs may differ: logits, and losses."""


@dataclass
class Timing:
    """Seconds of the work that is compared, its output, and seconds of what is shown apart."""

    seconds: float
    output: Tensor | None = None
    parts: dict[str, float] = field(default_factory=dict)


class Side(Protocol):
    """One way to do the work."""

    name: str

    def run(self) -> Timing: ...


class PeerFailure(Exception):
    """A peer that could not be installed, or failed at its work; its message is one line."""


@dataclass(frozen=True)
class Comparison:
    """What is compared. ``sides`` begin with ours; ``facts`` say how large the work is.

    ``losses`` gives, for sides by their names, a number that must be equal, computed before
    anything is timed. It is for work whose own output is random, such as training.
    """

    name: str
    about: str
    sides: list[Side]
    facts: dict[str, Any]
    tolerance: float = LOGITS
    losses: dict[str, Callable[[], float]] = field(default_factory=dict)


def take_turns(
    comparison: Comparison, repetitions: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Time all sides, as plain data.

    Raises:
        AssertionError: if a side in this process gives another output than ours.
    """
    record = _Record(comparison)
    record.compare_losses()
    for repetition in range(repetitions + 1):
        say(f"{comparison.name}: {repetition or 'warm-up'} of {repetitions}")
        record.repeat(counts=repetition > 0)
        gc.freeze()  # what others import and build is not looked through again and again
    return record.plain()


class _Record:
    def __init__(self, comparison: Comparison):
        self.comparison = comparison
        self.times: dict[str, list[Timing]] = {side.name: [] for side in comparison.sides}
        self.errors: dict[str, str] = {}
        self.differences: dict[str, float] = {}

    def compare_losses(self) -> None:
        ours: float | None = None
        for name, loss in self.comparison.losses.items():
            try:
                found = loss()
            except PeerFailure as failure:
                self.errors[name] = str(failure)
                continue
            ours = found if ours is None else ours
            self._equal(name, abs(found - ours), LOSS)

    def repeat(self, counts: bool) -> None:
        ours: Tensor | None = None
        for number, side in enumerate(self.comparison.sides):
            if side.name in self.errors:
                continue
            try:
                timing = side.run()
                if number == 0:
                    ours = timing.output
                elif timing.output is not None and ours is not None:
                    apart = timing.output.cpu().double() - ours.cpu().double()
                    worst = float(apart.abs().max())
                    self._equal(side.name, worst, self.comparison.tolerance)
            except PeerFailure as failure:
                self.errors[side.name] = str(failure)
                continue
            timing.output = None
            if counts:
                self.times[side.name].append(timing)

    def _equal(self, name: str, difference: float, tolerance: float) -> None:
        self.differences[name] = max(difference, self.differences.get(name, 0.0))
        what = f"{self.comparison.name}: {name} differs from ours by {difference:.2g}"
        assert difference <= tolerance, what

    def plain(self) -> dict[str, Any]:
        comparison = self.comparison
        ours = [timing.seconds for timing in self.times[comparison.sides[0].name]]
        return {
            "name": comparison.name,
            "about": comparison.about,
            "facts": comparison.facts,
            "tolerance": LOSS if comparison.losses else comparison.tolerance,
            "sides": [self._side(side.name, ours) for side in comparison.sides],
        }

    def _side(self, name: str, ours: list[float]) -> dict[str, Any]:
        if name in self.errors:
            return {"name": name, "error": self.errors[name]}
        times = self.times[name]
        seconds = [timing.seconds for timing in times]
        ratios = [theirs / mine for theirs, mine in zip(seconds, ours, strict=True)]
        return {
            "name": name,
            "seconds": significant(statistics.median(seconds)),
            "all_seconds": [significant(value) for value in seconds],
            "ratio": significant(statistics.median(ratios)),
            "all_ratios": [significant(value) for value in ratios],
            "parts": {
                part: significant(statistics.median(timing.parts[part] for timing in times))
                for part in times[0].parts
            },
            "difference": self.differences.get(name, 0.0),
        }


def now() -> float:
    """The clock, once all work that a GPU has been given is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def significant(value: float) -> float:
    """Four digits say more than a clock knows."""
    return float(f"{value:.4g}")


@contextmanager
def watch() -> Iterator[Callable[[], float]]:
    """Seconds since the block began."""
    started = now()
    yield lambda: now() - started
