"""Programs made small: fewer pairs and epochs, fewer cells and components, the same statements.

``shrink`` copies a folder of programs with smaller numbers in their text; ``thin`` takes from a
checked program the cells of sweeps and the components of traces that nothing in it names, but for
a few. What is left does what it did.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.measurements import Axis, Measurement, Run
from causaldsl.check.values import Applied, CheckedTrace
from causaldsl.vocabulary.numbers import Result
from causaldsl.vocabulary.traces import TraceNumber

FEWER = {
    r"\b(train|test) +\d+": r"\1 {pairs}",
    r"\b(train|test) +(n|half)\b": r"\1 2",  # paths and traces, of which every run is dear
    r"\bparam (n_train|n_test|m) = \d+": r"param \1 = {pairs}",
    r"\bparam n_wide = \d+": "param n_wide = 12",  # of five templates at least
    r"\bparam n = (\d+)": "param n = {pairs}",
    r"\bepochs: \d+": "epochs: 1",
    r"\blr: ([\d.]+)\)": r"lr: \1, epochs: 1)",  # which would stop by itself
    r"\bsample\((\w+), n: \w+, length: \d+": r"sample(\1, n: {texts}, length: 12",
    r"\bl in layers, s in [\d.]+:": "l in {{2, 20}}, s in 0..0:",  # tables of probes
    r"\bz in \{[^}]*\}": "z in {{0.1}}",  # few texts tell small steps apart by their rounding
    r"\btop \d+": "top 2",
    r"(= illusion\((?!.*directions)(?:[^()]|\([^()]*\))*)": r"\1, directions: 1",
    r"(= illusion\((?!.*mlps)(?:[^()]|\([^()]*\))*)": r"\1, mlps: 1, sizes: [8]",
}
"""What is made smaller in the text of a program, and to what."""


def shrink(folder: Path, into: Path, pairs: int, texts: int) -> set[str]:
    """Copy the programs of ``folder`` with fewer pairs; gives the names of those that changed."""
    changed = set()
    for path in folder.iterdir():
        if path.suffix != ".cpatch":
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, into / path.name)
            continue
        text = before = path.read_text()
        for old, new in FEWER.items():
            text = re.sub(old, new.format(pairs=pairs, texts=texts), text)
        (into / path.name).write_text(text)
        changed |= {path.name} if text != before else set()
    return changed


def thin(program: CheckedProgram, cells: int, components: int) -> CheckedProgram:
    """The program with at most so many cells (components) that no number of it names."""
    numbers = list(_numbers(program))
    measurements = {
        name: _fewer_cells(measurement, _cells_of(numbers, name), cells)
        for name, measurement in program.measurements.items()
    }
    traces = {
        name: _fewer_components(trace, _shares_of(numbers, name), components)
        for name, trace in program.traces.items()
    }

    def shorter(applied: Applied) -> Applied:
        return replace(
            applied, operands=tuple((role, operand(value)) for role, value in applied.operands)
        )

    def operand(value: Any) -> Any:
        if isinstance(value, Applied):
            return shorter(value)
        if isinstance(value, tuple):  # of the numbers of all cells, those that are left
            return tuple(operand(part) for part in value if _is_there(part, measurements))
        return traces[value.name] if isinstance(value, CheckedTrace) else value

    named = {name: shorter(applied) for name, applied in program.named.items()}
    return replace(
        program,
        defined={**program.defined, **measurements, **traces, **named},
        claims=[replace(claim, condition=shorter(claim.condition)) for claim in program.claims],
    )


def _numbers(program: CheckedProgram) -> Iterator[Applied]:
    """Everything that lets, tables, claims and plots speak of."""
    relative = [output.relative for output in program.outputs if output.relative is not None]
    conditions = [claim.condition for claim in program.claims]
    arms = [arm for table in program.tables.values() for arm in table.cells.values()]
    cells = [cell for arm in arms for cell in arm.values()]
    for applied in (*program.named.values(), *conditions, *relative, *cells):
        yield from _walk(applied)


def _walk(applied: Applied) -> Iterator[Applied]:
    """Without what is spoken of only as one of many, as in the largest of all cells."""
    yield applied
    for _, value in applied.operands:
        if isinstance(value, Applied):
            yield from _walk(value)


def _is_there(applied: Applied, measurements: dict[str, Measurement]) -> bool:
    if not isinstance(applied.word, Result):
        return True
    name = applied.operand("measure")
    assert isinstance(name, str)
    return any(run.name == applied.word.arm for run in measurements[name].runs)


def _cells_of(named: list[Applied], measurement: str) -> set[str]:
    return {
        applied.word.arm
        for applied in named
        if isinstance(applied.word, Result) and applied.operand("measure") == measurement
    }


def _shares_of(named: list[Applied], trace: str) -> set[str]:
    return {
        applied.word.name
        for applied in named
        if isinstance(applied.word, TraceNumber)
        and isinstance(of := applied.operand("trace"), CheckedTrace)
        and of.name == trace
    }


def _fewer_cells(measurement: Measurement, named: set[str], wanted: int) -> Measurement:
    """Arms without coordinates stay; of an axis, the values of the cells that stay."""
    if not measurement.axes:
        return measurement
    arms: dict[str, list[Run]] = {}
    for run in measurement.runs:
        if run.coordinates:
            arms.setdefault(run.name.partition("[")[0], []).append(run)
    kept = {run.name for cells in arms.values() for run in _spread(cells, wanted)} | named
    runs = tuple(run for run in measurement.runs if not run.coordinates or run.name in kept)
    axes = tuple(_fewer_values(axis, i, runs) for i, axis in enumerate(measurement.axes))
    return replace(measurement, runs=runs, axes=axes)


def _fewer_values(axis: Axis, place: int, runs: Iterable[Run]) -> Axis:
    used = {run.coordinates[place] for run in runs if run.coordinates}
    kept = [i for i, label in enumerate(axis.labels) if label in used]
    shown = tuple(axis.shown[i] for i in kept) if axis.shown else ()
    return replace(axis, labels=tuple(axis.labels[i] for i in kept), shown=shown)


def _fewer_components(trace: CheckedTrace, named: set[str], wanted: int) -> CheckedTrace:
    heads = {head for head in trace.heads if "head {}.{}".format(*head) in named}
    mlps = {layer for layer in trace.mlps if f"mlp {layer}" in named}
    mlps |= set(_spread(trace.mlps, wanted))
    heads |= set(_spread(trace.heads, max(wanted, 3 - len(mlps))))  # fewer have no ranks
    return replace(
        trace,
        heads=tuple(head for head in trace.heads if head in heads),
        mlps=tuple(layer for layer in trace.mlps if layer in mlps),
    )


def _spread(things: Any, wanted: int) -> list[Any]:
    """So many things from the first to the last; a single one is the middle one."""
    if len(things) <= wanted:
        return list(things)
    if wanted == 1:
        return [things[len(things) // 2]]
    return [things[round(i * (len(things) - 1) / (wanted - 1))] for i in range(wanted)]
