"""A set that a run has to find: the cells of a sweep that come out on top."""

from __future__ import annotations

from dataclasses import dataclass

ESTIMATE = "estimate"
"""The metric of a choice among the estimates of an attribution, by size."""


@dataclass(frozen=True)
class Choice:
    """``top(count, SWEEP.METRIC)``: the loop's values of the ``count`` largest of these ``cells``.

    Or ``top(count, ATTRIBUTION)``: then ``sweep`` is that, ``metric`` is ``ESTIMATE``, and the
    cells are what has an estimate.

    Both are named as the sweep names them: ``labels`` are the values, in the order of the cells.
    """

    sweep: str
    metric: str
    cells: tuple[str, ...]
    labels: tuple[str, ...]
    count: int

    def stand_ins(self, early: bool) -> tuple[str, ...]:
        """The values that stand for those that are not known: the first or the last ones."""
        return self.labels[: self.count] if early else self.labels[-self.count :]

    def __str__(self) -> str:
        of = self.sweep if self.metric == ESTIMATE else f"{self.sweep}.{self.metric}"
        return f"top({self.count}, {of})"
