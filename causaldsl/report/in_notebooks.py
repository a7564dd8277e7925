"""A run as a notebook shows it: its claims, its numbers, its pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl.check.checked import CheckedProgram
from causaldsl.graph.graph import Graph
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import records_table
from causaldsl.report.numbers import MARKS, places_of, plain, with_interval
from causaldsl.results.measured import Measured
from causaldsl.results.records import Expectation, Results

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


def measures_of(program: CheckedProgram, results: Results) -> dict[str, Numbers]:
    """The numbers of every measure and sweep of a run, by its name."""
    found = {}
    for name, numbers in results.measures.items():
        made = program.measurements[name]
        places = {run.name: (run.arm, run.coordinates) for run in made.runs}
        found[name] = Numbers(name, tuple(axis.name for axis in made.axes), places, numbers)
    return found


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


@dataclass(frozen=True)
class Drawing:
    """A picture of a run, drawn when it is looked at."""

    name: str
    picture: Picture

    @cached_property
    def svg(self) -> str:
        """The picture as SVG text."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.name}.svg"
            self.picture.draw(path)
            return path.read_text(encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg[self.svg.index("<svg") :]


def drawings(program: CheckedProgram, graph: Graph, results: Results) -> dict[str, Drawing]:
    """The pictures of a run by name: those that the program asks for, and those drawn unasked."""
    from causaldsl.report.kinds.base import UNASKED, pictures
    from causaldsl.report.view import View

    view: View = View(program, graph, results, Path())
    named = ((picture.stem.removeprefix(UNASKED), picture) for picture in pictures(view))
    return {name: Drawing(name, picture) for name, picture in named}
