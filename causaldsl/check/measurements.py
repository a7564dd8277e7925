"""Measures, sweeps and audits as values: their runs, arms and cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from causaldsl.check.kinds import Value
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.values import Applied, CheckedPath
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.numbers import Result
from causaldsl.vocabulary.types import NumberType


@dataclass(frozen=True)
class Run:
    """One arm: a name, its interventions, and where it stands on the axes of a sweep.

    ``stages`` says, if there are several, in which one each intervention acts.
    """

    name: str
    interventions: tuple[Applied | CheckedPath, ...]
    label: str
    coordinates: tuple[str, ...]
    span: Span = field(compare=False, repr=False)
    stages: tuple[int, ...] = ()

    @property
    def arm(self) -> str:
        """Its arm's name, without its cell."""
        return self.name.partition("[")[0]


@dataclass(frozen=True)
class Axis:
    """One loop variable of a sweep: its values' names in a cell, and as a plot shows them.

    ``quantity`` is what its values are, such as layers, where the program shows it.
    """

    name: str
    labels: tuple[str, ...]
    shown: tuple[str, ...] = ()
    values: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    """What the labels stand for."""
    quantity: str = ""


@dataclass(frozen=True)
class Measurement(Value):
    """A `measure` or, with axes, a `sweep`: runs on pairs, and the metrics to report."""

    kind = "a measure or sweep"
    compiled = True
    can_plot = True
    can_render = True
    name: str
    pairs: PairSet
    runs: tuple[Run, ...]
    metrics: tuple[str, ...]
    axes: tuple[Axis, ...]
    span: Span = field(compare=False, repr=False)

    @property
    def loop_variables(self) -> Mapping[str, int]:
        return {axis.name: len(axis.labels) for axis in self.axes}

    @property
    def has_cells(self) -> bool:
        return bool(self.axes)

    @property
    def cells(self) -> dict[str, list[Run]]:
        """The runs of a sweep's cells, by arm; a sweep of one body has an arm without name."""
        arms: dict[str, list[Run]] = {}
        for run in self.runs:
            if run.coordinates:
                arms.setdefault(run.arm, []).append(run)
        return arms

    def part(self, node: ast.Attribute) -> Value:
        """An arm; of a sweep: a metric over its cells, or one of its arms with all its cells."""
        name = node.name.text
        if not self.axes:
            runs = {run.name: run for run in self.runs}
            if name in runs:
                return ArmRef(self, runs[name])
            raise wrong(
                "no-arm",
                f"measure `{self.name}` has no arm `{name}`",
                node.name.span,
                self._of_an_arm(name) or suggest(name, runs, "arms"),
            )
        if name == "clean":
            return ArmRef(self, self.runs[0])
        if name in self.metrics:
            cells = [run for run in self.runs if run.coordinates]
            return Cells(tuple(ArmRef(self, run).part(node) for run in cells))
        if name in self.cells:
            return replace(self, runs=(self.runs[0], *self.cells[name]))
        raise wrong(
            "no-arm",
            f"sweep `{self.name}` has no metric or arm `{name}`",
            node.name.span,
            suggest(name, [*self.metrics, *self.cells], "metrics"),
        )

    def _of_an_arm(self, name: str) -> str | None:
        """What to write for a metric that is asked of the whole measure."""
        arm = next((run.name for run in self.runs if run.name != "clean"), "clean")
        return f"say of which arm: {self.name}.{arm}.{name}" if name in self.metrics else None

    def cell(self, node: ast.Index, wanted: str) -> ArmRef:
        """`sweep[20]`: one cell, by its loop variables' values joined with dots."""
        if len(self.cells) > 1:
            raise wrong(
                "which-arm",
                f"sweep `{self.name}` has several arms",
                node.span,
                f"write {self.name}.{min(self.cells)}[{wanted}]",
            )
        found = {".".join(run.coordinates): run for run in self.runs if run.coordinates}
        spaced = {name.replace(" ", ""): run for name, run in found.items()}  # `mlp_out[3] @ END`
        if wanted in spaced:
            return ArmRef(self, spaced[wanted])
        raise wrong(
            "no-cell",
            f"sweep `{self.name}` has no cell [{wanted}]",
            node.at.span,
            suggest(wanted, found, "cells"),
        )

    def check_divisor(self, span: Span, metric: str | None = None) -> None:
        if not self.axes:
            raise wrong(
                "no-part",
                "the bars of a measure have intervals, so they are not divided by a number",
                span,
                f"write let share = {self.name}.ARM.METRIC / {span.text}: its interval is its own",
            )
        if metric is not None and metric not in self.metrics:
            raise wrong(
                "no-metric",
                f"`{self.name}` does not report `{metric}`, so it can't be relative to this",
                span,
                f"it reports {', '.join(self.metrics)}",
            )


@dataclass(frozen=True)
class ArmRef(Value):
    """`measure.arm`, or a cell of a sweep: what a metric's name can follow."""

    kind = "an arm of a measure"
    way_out = "write one of its metrics, {}.METRIC"
    measurement: Measurement
    run: Run

    def part(self, node: ast.Attribute) -> Applied:
        """A metric of this arm: the number that the run will measure."""
        name = node.name
        if name.text not in self.measurement.metrics:
            raise wrong(
                "no-metric",
                f"`{self.measurement.name}` does not report `{name.text}`",
                name.span,
                f"add it to its report line; it reports {', '.join(self.measurement.metrics)}",
            )
        word = Result(arm=self.run.name, metric=name.text)
        return Applied(word, (("measure", self.measurement.name),), NumberType(), name.span)


@dataclass(frozen=True)
class Cells(Value):
    """One metric over all cells of a sweep (or one arm of it)."""

    kind = "a metric over a sweep"
    values: tuple[Applied, ...]


@dataclass(frozen=True)
class CheckedAudit(Value):
    """An `audit`: what is audited, where, on which pairs, and the runs that its evidence needs.

    ``parts`` are subspaces and matrices that the evidence speaks of, by their role.
    """

    kind = "an audit"
    compiled = True
    way_out = "write {} is illusory"
    name: str
    word: Word
    of: Applied
    against: Applied | None
    place: Place
    pairs: PairSet
    parts: tuple[tuple[str, Applied], ...]
    runs: tuple[Run, ...]
    text: str
    span: Span = field(compare=False, repr=False)
