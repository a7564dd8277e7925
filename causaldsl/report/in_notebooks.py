"""A run as a notebook shows it: its claims, its numbers, its pictures."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.graph.graph import Graph
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import records_table
from causaldsl.report.numbers import MARKS, places_of, plain, with_interval
from causaldsl.results.frames import ByName, Measured, Rows
from causaldsl.results.numbers import Number, Record
from causaldsl.results.records import Expectation, Results
from causaldsl.results.routes import TraceRecord

if TYPE_CHECKING:
    from causaldsl.report.kinds.base import Picture
    from causaldsl.report.view import View

MOST = 40
"""How many arms of a measure are shown; the frame has all."""


class Numbers(Measured):
    """The numbers of a measure or sweep, which show themselves in a notebook."""

    def _repr_html_(self) -> str:
        names = {name: [numbers[name] for numbers in self.numbers.values()] for name in self._names}
        places = {name: places_of(column) for name, column in names.items()}
        rows = [
            {"arm": tag("code", arm)}
            | {m: with_interval(n, partial(plain, places=places[m])) for m, n in numbers.items()}
            for arm, numbers in list(self.numbers.items())[:MOST]
        ]
        left = len(self.numbers) - len(rows)
        caption = join(tag("b", self.name), f", and {left} more arms" if left > 0 else "")
        return records_table(rows, caption)

    @property
    def _names(self) -> list[str]:
        return list(next(iter(self.numbers.values())))


class Claims(Rows):
    """The claims of a run, with their verdicts."""

    def __repr__(self) -> str:
        counts = Counter(row["verdict"] for row in self.rows)
        return f"<Claims: {', '.join(f'{n} {verdict}' for verdict, n in counts.items()) or 'none'}>"

    def __str__(self) -> str:
        return "\n".join(f"{row['verdict']}: {row['text']}" for row in self.rows)

    def _repr_html_(self) -> str:
        return records_table([_claim(Expectation(**row)) for row in self.rows], "")


def claims_of(results: Results) -> Claims:
    """The claims of a run, in the order of the program."""
    return Claims([claim.model_dump() for claim in results.expectations])


def measures_of(results: Results) -> ByName[Numbers]:
    """The numbers of every measure and sweep of a run, by its name."""
    found = {
        name: Numbers(name, results.sweeps.get(name), numbers)
        for name, numbers in results.measures.items()
    }
    return ByName("measure", found)


def run_html(results: Results, measures: Mapping[str, Numbers], where: Path | None) -> str:
    """A run: its verdict, its claims, and the numbers of its measures."""
    parts: list[Html] = []
    if results.expectations:
        rows = [_claim(one) for one in results.expectations]
        parts.append(records_table(rows, f"Claims: {MARKS[results.verdict]}"))
    parts += [Html(numbers._repr_html_()) for numbers in measures.values()]
    parts += [tag("p", note) for note in results.notes]
    if where is not None:
        parts.append(tag("p", "All of it: ", tag("code", str(where / "report.html"))))
    return tag("div", *parts)


def _claim(claim: Expectation) -> dict[str, Content]:
    size = plain(claim.left) if claim.difference is None else plain(claim.difference)
    if claim.low is not None and claim.high is not None:
        size += f" [{plain(claim.low)}, {plain(claim.high)}]"
    found = claim.found or ("" if claim.difference is None else "difference ") + size
    return {"claim": tag("code", claim.text), "": MARKS[claim.verdict], "found": found}


class Shown(ABC):
    """A picture of a run."""

    name: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    @abstractmethod
    def svg(self) -> str:
        """The picture as SVG text."""

    def _repr_svg_(self) -> str:
        return self.svg[self.svg.index("<svg") :]


@dataclass(frozen=True, repr=False)
class Drawing(Shown):
    """A picture that is drawn when it is looked at."""

    name: str
    picture: Picture

    @cached_property
    def svg(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.name}.svg"
            self.picture.draw(path)
            return path.read_text(encoding="utf-8")


@dataclass(frozen=True, repr=False)
class SavedPicture(Shown):
    """A picture in a run's folder."""

    name: str
    path: Path

    @property
    def svg(self) -> str:
        return self.path.read_text(encoding="utf-8")


def drawings(program: CheckedProgram, graph: Graph, results: Results) -> ByName[Shown]:
    """The pictures that a run leaves in its folder as SVG, by the names of their files."""
    from causaldsl.report.kinds.base import Picture, pictures
    from causaldsl.report.kinds.outputs import draw_graph
    from causaldsl.report.view import View

    view: View = View(program, graph, results, Path())
    whole = Picture(partial(draw_graph, view, None), "graph", ".svg", "")
    found = [one for one in (*pictures(view), whole) if one.suffix == ".svg"]
    return _by_name({one.stem: Drawing(one.stem, one) for one in found})


def drawings_by_statement(
    program: CheckedProgram, graph: Graph, results: Results
) -> dict[str, Shown]:
    """A picture of every statement that has one, by the statement's name, whatever its file is."""
    from causaldsl.report.kinds.base import pictures
    from causaldsl.report.view import View

    view: View = View(program, graph, results, Path())
    return {one.at: Drawing(one.at, one) for one in pictures(view) if one.at}


def saved_pictures(folder: Path) -> ByName[Shown]:
    """The pictures that a run has left in its folder, by name."""
    found = sorted(folder.glob("*.svg"))
    return _by_name({path.stem: SavedPicture(path.stem, path) for path in found})


def _by_name(found: Mapping[str, Shown]) -> ByName[Shown]:
    asked = "`plot NAME` in the program draws a measure, sweep or other result"
    return ByName("picture", found, asked)


@dataclass(frozen=True, repr=False)
class Traced:
    """A trace: its picture, and its numbers as rows."""

    name: str
    record: TraceRecord
    picture: Shown | None
    """None where the run has left no picture of it."""

    def __repr__(self) -> str:
        edges, components = len(self.record.edges), len(self.record.components)
        return f"<Traced {self.name}: {edges} edges, {components} components>"

    @property
    def edges(self) -> Rows:
        """The edges among what is drawn: effect, natural effect, shares, whether dormant."""
        return Rows([_flat(edge) for edge in self.record.edges])

    @property
    def components(self) -> Rows:
        """Every component that was traced, and what it mediates."""
        return Rows([_flat(component) for component in self.record.components])

    def _repr_svg_(self) -> str | None:
        return None if self.picture is None else self.picture._repr_svg_()


def traces_of(results: Results, pictures: Mapping[str, Shown]) -> ByName[Traced]:
    """The traces of a run by name, each with its picture."""
    found = results.traces.items()
    made = {name: Traced(name, record, pictures.get(name)) for name, record in found}
    return ByName("trace", made)


def _flat(record: Record) -> dict[str, Any]:
    """A record as one row: of a number its mean, and the ends of its interval beside it."""
    row: dict[str, Any] = {}
    for name, value in record:
        if isinstance(value, Number):
            row |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            row[name] = value
    return row
