"""Measures and sweeps, tables, and what plots show of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from causaldsl.check.checked import CheckedProgram, Output
from causaldsl.check.measurements import Axis
from causaldsl.check.values import Applied
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.drawn import Drawn, widened
from causaldsl.engine.looks import all_at_once
from causaldsl.engine.metrics import ROUNDING, Measured
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session
from causaldsl.vocabulary.metrics import named_with_unit


@gathers("measures")
def measures(program: CheckedProgram, session: Session) -> dict[str, Any]:
    made = session.graph.of_kind("measure")
    return {name: _table(session.values[measure.key]) for name, measure in made.items()}


def _table(arms: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    return {arm: numbers(metrics) for arm, metrics in arms.items()}


def numbers(metrics: dict[str, Estimate]) -> dict[str, Any]:
    """Metrics of one arm, by their names."""
    return {metric: value.record() for metric, value in metrics.items()}


@gathers("arms")
def arms(program: CheckedProgram, session: Session) -> dict[str, Any]:
    """What the arms do, by their names; the cells of a sweep do the same with other values."""
    return {m.name: {run.arm: run.label for run in m.runs} for m in program.measurements.values()}


@gathers("sweeps")
def sweeps(program: CheckedProgram, session: Session) -> dict[str, Any]:
    known = session.graph.vocabulary.metrics
    found = {}
    for m in program.measurements.values():
        if not m.axes:
            continue
        measured: Measured = session.values[session.graph.key_of(m.name)]
        metrics = [known[name] for name in m.metrics]
        rounding = ROUNDING[session.loaded.dtype_name]
        looks = {metric.word: all_at_once(measured, metric, rounding) for metric in metrics}
        found[m.name] = {
            "axes": {axis.name: list(axis.labels) for axis in m.axes},
            "shown": {axis.name: list(axis.shown) for axis in m.axes if axis.shown},
            "quantities": _quantities(m.axes),
            "arms": list(dict.fromkeys(r.arm for r in m.runs if r.coordinates)),
            "simultaneous": {name: look.half for name, look in looks.items() if look.half},
            "differs": {n: look.differs for n, look in looks.items() if look.differs is not None},
        }
    return found


@gathers("tables")
def tables(program: CheckedProgram, session: Session) -> dict[str, Any]:
    found = {}
    for table in program.tables.values():
        values = session.values[session.graph.key_of(table.name)]
        by_arm = {
            arm: {cell: values[f"{arm}[{cell}]"] for cell in cells}
            for arm, cells in table.cells.items()
        }
        drawn = {arm: _drawn(cells) for arm, cells in by_arm.items()}
        found[table.name] = {
            "axes": {axis.name: list(axis.labels) for axis in table.axes},
            "quantities": _quantities(table.axes),
            "of": {arm: said for arm, cells in table.cells.items() if (said := _of(cells))},
            "cells": {a: {c: float(v) for c, v in cells.items()} for a, cells in by_arm.items()},
            "intervals": {
                arm: {cell: value.interval() for cell, value in cells.items()}
                for arm, cells in drawn.items()
                if cells
            },
            "simultaneous": {arm: widened(list(c.values())) for arm, c in drawn.items() if c},
        }
    return found


def _quantities(axes: Iterable[Axis]) -> dict[str, str]:
    return {axis.name: axis.quantity for axis in axes if axis.quantity}


def _of(cells: Mapping[str, Applied]) -> str:
    """What the numbers of an arm are, if they are all of one word."""
    found = {c.word.quantity or named_with_unit(c.word.measured or "") for c in cells.values()}
    return found.pop() if len(found) == 1 else ""


def _drawn(cells: dict[str, float]) -> dict[str, Drawn]:
    return {
        cell: value
        for cell, value in cells.items()
        if isinstance(value, Drawn) and value.make is not None and value.draws().spread.n > 1
    }


@gathers("plots")
def plots(program: CheckedProgram, session: Session) -> dict[str, Any]:
    return {
        output.stem: {
            "target": output.target,
            "by": output.by,
            "lines": output.lines,
            "relative": _relative(session, output),
            "relative_to": output.relative_to,
            "metric": output.metric,
        }
        for output in program.outputs
        if output.kind == "plot"
    }


def _relative(session: Session, output: Output) -> float | None:
    """The number that a plot's numbers are divided by; None where it is 0, with a note."""
    if output.relative is None:
        return None
    value = float(session.values[session.graph.key_of(f"plot {output.stem}")])
    if value == 0:
        session.note(
            f"the plot of {output.target} is not relative to {output.relative_to}, which is 0: it "
            "shows the numbers as they are"
        )
        return None
    if math.isnan(value):
        session.note(
            f"the plot of {output.target} is not divided by {output.relative_to}, which is withheld"
        )
        return None
    return value
