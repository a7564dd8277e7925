"""Kinds of record: each field of the results has one; a new one takes a class, or none at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import Field
from rich.console import Console

from causaldsl.check.checked import CheckedProgram, Output
from causaldsl.check.program import check_file
from causaldsl.diagnostics import Span
from causaldsl.graph.compiler import compile_program
from causaldsl.report.html.markup import Html, tag
from causaldsl.report.kinds import base
from causaldsl.report.kinds.base import Draw, Kind, asked, kind, kinds, of_no_kind, pictures
from causaldsl.report.page.build import report_html
from causaldsl.report.tables import print_results
from causaldsl.report.view import View
from causaldsl.results.numbers import Number, Record
from causaldsl.results.records import Results, SweepRecord
from causaldsl.vocabulary.metrics import headline
from tests.report.pages import Page
from tests.report.synthetic import trace

PROGRAM = """model toy = "toy/illusion"
pairs one = numbers(base: 1, source: 2)
site lens = mlp_hidden[0]
site other = mlp_hidden[0]
"""


class LensRecord(Record):
    layers: list[int]
    score: Number


class More(Results):
    """Results with a field that no kind knows."""

    lenses: dict[str, LensRecord] = Field(default_factory=dict)
    best: LensRecord | None = None


LENS = LensRecord(layers=[3, 1, 4], score=Number(mean=0.123, n=7, low=-0.5, high=0.75))


@pytest.fixture
def program(tmp_path: Path) -> CheckedProgram:
    (tmp_path / "lens.cpatch").write_text(PROGRAM)
    return check_file(tmp_path / "lens.cpatch")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds that a test registers are gone after it."""
    monkeypatch.setattr(base, "_KINDS", list(kinds()))


def view_of(program: CheckedProgram, folder: Path, **found) -> View:
    results = More(program="lens.cpatch", measures={}, **found)
    return View(program, compile_program(program), results, folder, folder)


def test_every_field_of_the_results_has_one_kind() -> None:
    shown = [field for known in kinds() for field in known.fields]
    assert sorted(shown) == sorted(Results.model_fields)


def test_places_are_taken_once() -> None:
    assert len({known.page_place for known in kinds()}) == len(kinds())
    printing = [known.terminal_place for known in kinds() if known.terminal_place]
    assert len(set(printing)) == len(printing)


@pytest.mark.usefixtures("register")
def test_two_kinds_for_a_field_are_refused() -> None:
    with pytest.raises(ValueError, match="Traces and Twice both show traces"):

        @kind
        class Twice(Kind[LensRecord]):
            fields = ("lenses", "traces")


def test_a_field_without_a_kind_is_shown_all_the_same(
    program: CheckedProgram, tmp_path: Path
) -> None:
    view = view_of(program, tmp_path, lenses={"lens": LENS}, best=LENS)
    assert list(of_no_kind(view.results)) == ["lenses", "best"]
    page = Page(report_html(view))
    assert [e.words for e in page.all("h2")][:3] == [
        "The program and what it gave",
        "Lenses",
        "Best",
    ]
    (section,) = [e for e in page.all("section") if e.attributes["id"] == "lenses"]
    assert "lens" in section.words
    assert "3, 1, 4" in section.words
    assert "0.12 [−0.50, 0.75]" in section.words
    _, beside = page.all("div", "beside")
    assert "0.12 [−0.50, 0.75]" in beside.words
    assert all(link.attributes["href"][1:] in page.ids for link in page.all("a"))


@pytest.mark.usefixtures("register")
def test_a_kind_shows_its_records_everywhere(program: CheckedProgram, tmp_path: Path) -> None:
    @kind
    class Lenses(Kind[LensRecord]):
        fields = ("lenses",)
        title = "Lenses, in full"
        terminal_place, page_place = 45, 33

        def tables(self, results: Results, name: str, record: LensRecord) -> Iterator[str]:
            yield f"{name} looks at {len(record.layers)} layers"

        def panel(self, view: View, name: str, record: LensRecord) -> Html:
            return tag("p", f"{name}: {record.layers[0]}")

        def article(self, view: View, name: str, record: LensRecord) -> Html:
            return tag("article", tag("h3", name), tag("p", str(record.layers)))

        def draw(self, view: View, name: str, record: LensRecord, asked: Output | None) -> Draw:
            svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9pt" viewBox="0 0 9 9"/>'
            return lambda path: path.write_text(svg) and None

    view = view_of(program, tmp_path, lenses={"lens": LENS})
    console = Console(file=io.StringIO(), width=80)
    print_results(view.results, console)
    assert console.file.getvalue() == "lens looks at 3 layers\n\n"
    (picture,) = pictures(view)
    picture.draw(tmp_path / f"{picture.stem}.svg")
    page = Page(report_html(view))
    assert "Lenses, in full" in [e.words for e in page.all("h2")]
    _, beside = page.all("div", "beside")
    assert beside.words.startswith("lens: 3")
    assert [e.attributes["id"] for e in page.all("figure")] == ["figure-unplotted-lens"]
    assert of_no_kind(view.results) == {}

    output = Output("plot", "lens", "asked", ".png", Span(program.source, 0, 1))
    program.outputs.append(output)
    assert [p.stem for p in pictures(view)] == ["asked"]
    program.outputs.append(Output("plot", "nothing", "x", ".svg", output.span))
    with pytest.raises(LookupError, match="plot nothing"):
        asked(view, program.outputs[-1])


def test_what_is_drawn_unasked(program: CheckedProgram, tmp_path: Path) -> None:
    """Not what a `plot` or `render` draws, and nothing under a name that they take."""
    records = {"traces": {"lens": trace(12), "other": trace(12)}}
    sweeps = {"by_layer": SweepRecord(axes={"layer": ["0", "1"]}, arms=[""])}
    view = view_of(program, tmp_path, sweeps=sweeps, **records)
    found = {(p.stem, p.suffix, p.at) for p in pictures(view)}
    unplotted = ("unplotted-by_layer", "", "by_layer")
    assert found == {unplotted, ("lens", ".svg", "lens"), ("other", ".svg", "other")}
    span = Span(program.source, 0, 1)
    program.outputs.append(Output("render", "lens", "other", ".pdf", span))
    view.results.measures["by_layer"] = {}
    program.outputs.append(Output("render", "by_layer", "part", ".svg", span))
    found = {(p.stem, p.suffix, p.at) for p in pictures(view)}
    assert found == {unplotted, ("other", ".pdf", "lens"), ("part", ".svg", "")}


def test_the_headline_is_data_of_the_metric() -> None:
    assert headline(["kl", "fldd", "prob"]) == "fldd"
    assert headline(["prob", "kl"]) == "prob"
    assert headline(["from_elsewhere", "kl"]) == "from_elsewhere"
