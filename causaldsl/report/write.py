"""Everything that a run leaves, written into one folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.graph.graph import Graph
from causaldsl.graph.printing import graph_json, graph_text
from causaldsl.plan.settings import Settings
from causaldsl.report.dot import graph_dot
from causaldsl.report.kinds.base import Picture, pictures
from causaldsl.report.page.build import report_html
from causaldsl.report.pictures import draw_dot
from causaldsl.report.saved_circuits import write_circuits
from causaldsl.report.saved_graphs import write_graphs
from causaldsl.report.saved_pairs import saved_lines
from causaldsl.report.saved_sources import write_sources
from causaldsl.report.view import View
from causaldsl.results.records import Results
from causaldsl.results.store import drawing
from causaldsl.results.values import FILE as VALUES
from causaldsl.results.values import Block, write_values

_DRAFT = ".results.json"


def write_numbers(
    folder: Path,
    program: CheckedProgram,
    graph: Graph,
    results: Results,
    subspaces: Mapping[str, Mapping[str, Any]],
    by_pair: Iterable[Block],
    settings: Settings,
) -> None:
    """Write results, numbers by pair, subspaces, pairs, program and graph: what took time to find.

    ``subspaces`` gives, by name, the tensors of each named subspace; ``settings`` are those of the
    run, which `causaldsl verify` needs.
    """
    folder.mkdir(exist_ok=True)  # another machine may have taken it for left behind
    _results(folder, results)
    write_values(folder / VALUES, by_pair)
    write_sources(folder, program, settings)
    _subspaces(folder / "subspaces", subspaces)
    _pairs(folder / "pairs", View(program, graph, results, folder))
    write_circuits(folder / "circuits", program)
    write_graphs(folder / "graphs", program, results)
    (folder / f"{program.path.stem}.cpatch").write_text(program.source.text, "utf-8")
    (folder / "graph.txt").write_text(graph_text(graph), "utf-8")
    (folder / "graph.json").write_text(graph_json(graph), "utf-8")


def draw_run(folder: Path, program: CheckedProgram, graph: Graph, results: Results) -> Results:
    """Draw the pictures and write the report into the folder of a run whose numbers are there.

    One that can't be drawn costs itself only. Gives the results, with a note of each such.
    """
    problems: list[str] = []

    @contextmanager
    def costing(what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # drawing is done by many libraries
            reason = " ".join(str(error).split()) or type(error).__name__
            problems.append(f"{what} could not be made: {reason[:300]}")

    with tempfile.TemporaryDirectory() as drawn:
        view = View(program, graph, results, folder, Path(drawn))
        with costing("the picture graph.svg"), drawing(folder, "graph.svg", "graph.dot"):
            draw_dot(graph_dot(program, graph, results), folder / "graph.svg")
        found: list[Picture] = []
        with costing("the list of pictures"):
            found = pictures(view)
        for picture in found:
            with costing(f"the picture {picture.stem}{picture.suffix}"):
                _draw(picture, view)
        view.results = _noted(results, problems)
        with costing("report.html"), drawing(folder, "report.html"):
            text = report_html(view)  # it holds the pictures
            (folder / "report.html").write_text(text, "utf-8")
    if problems:
        results = _noted(results, problems)
        with suppress(OSError):  # the numbers are there, only without this note
            _results(folder, results)
    return results


def _draw(picture: Picture, view: View) -> None:
    """Draw a picture into the run's folder; one that is no SVG there also for the page."""
    if picture.suffix:
        name = f"{picture.stem}{picture.suffix}"
        with drawing(view.folder, name, f"{picture.stem}.dot"):
            picture.draw(view.folder / name)
    if picture.suffix != ".svg" and view.drawn is not None:
        picture.draw(view.drawn / f"{picture.stem}.svg")


def _noted(results: Results, problems: list[str]) -> Results:
    return results.model_copy(update={"notes": [*results.notes, *problems]})


def _results(folder: Path, results: Results) -> None:
    """Write results.json, so that a reader sees all of it or what was there before."""
    with drawing(folder, _DRAFT):
        (folder / _DRAFT).write_text(results.model_dump_json(indent=1) + "\n", "utf-8")
        os.replace(folder / _DRAFT, folder / "results.json")


def _pairs(folder: Path, view: View) -> None:
    folder.mkdir()
    for pairs in view.pairs:
        lines = saved_lines(pairs, view.program.tokens)
        (folder / f"{pairs.name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def _subspaces(folder: Path, subspaces: Mapping[str, Mapping[str, Any]]) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    for name, tensors in subspaces.items():
        save_file(dict(tensors), str(folder / f"{name}.safetensors"))
