"""Circuits: how large each was, of what, and what stood outside; measured ones as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from rich.table import Table

from causaldsl.report.circuit_pictures import MOST, circuit_dot
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import folded, table
from causaldsl.report.kinds.base import Kind, Picture, kind
from causaldsl.report.pictures import draw_dot
from causaldsl.report.saved_circuits import circuit_file_name
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import Results
from causaldsl.results.routes import CircuitRecord

Circuits = Mapping[str, CircuitRecord]
_ROWS, _DRAWN = 12, 4


@kind
class CircuitsKind(Kind[Circuits]):
    fields = ("circuits",)
    title = "Circuits"
    terminal_place = 12
    page_place = 34

    def tables(self, results: Results, name: str, record: Circuits) -> Iterator[Table]:
        alike = _alike(record)
        more = f", {_ROWS} of {len(alike)} sizes" if len(alike) > _ROWS else ""
        rows = [[runs, *about] for about, runs in list(alike.items())[:_ROWS]]
        columns = ["inside", "share"]
        yield titled(f"{name}: circuits{more}", ["run", "over", "outside"], columns, rows)

    def article(self, view: View, name: str, record: Circuits) -> Html:
        rows: list[list[Content]] = [
            [tag("code", runs), *about] for about, runs in _alike(record).items()
        ]
        columns = ["run", "over", "outside", "inside", "share"]
        made = table(columns, rows, f"{name}: circuits, at every position unless it says where")
        listed = [_parts(run, one) for run, one in list(record.items())[:_ROWS] if one.parts]
        title = tag("h3", tag("code", name))
        return tag("article", title, made, join(*listed), id=f"circuits-{name}")

    def unasked(self, view: View) -> Iterator[Picture]:
        """The circuits of measures; a sweep has too many of them."""
        for name, record in view.results.circuits.items():
            if name in view.results.sweeps:
                continue
            few = [(run, one) for run, one in record.items() if 0 < len(one.parts) <= MOST]
            for run, one in few[:_DRAWN]:
                stem, said = circuit_file_name(name, run), f"{name}.{run}"
                draw = partial(_draw, one, said, view.model)
                yield Picture(draw, stem, ".svg", f"The circuit of {said}", said)


def _draw(record: CircuitRecord, name: str, model: str, path: Path) -> None:
    draw_dot(circuit_dot(record, name, model), path)


def _alike(record: Circuits) -> dict[tuple[str, ...], str]:
    """The runs with circuits of one size, over and against the same, by what these are."""
    runs: dict[tuple[str, ...], list[str]] = {}
    for run, one in record.items():
        about = one.over, one.outside, _size(one), _share(one)
        runs.setdefault(about, []).append(run)
    return {
        about: some[0] if len(some) == 1 else f"{len(some)} runs, {some[0]} .. {some[-1]}"
        for about, some in runs.items()
    }


def _size(record: CircuitRecord) -> str:
    return f"{record.size} of {record.universe}"


def _share(record: CircuitRecord) -> str:
    return f"{record.size / record.universe:.2%}"


def _parts(run: str, record: CircuitRecord) -> Html:
    listed = tag("p", tag("code", ", ".join(record.parts)))
    return folded(f"parts inside {run}", len(record.parts), listed)
