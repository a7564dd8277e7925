"""Everything that a run leaves, written into one folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.graph.graph import Graph
from causaldsl.graph.printing import graph_json, graph_text
from causaldsl.plan.settings import Settings
from causaldsl.report.dot import graph_dot
from causaldsl.report.kinds.base import pictures
from causaldsl.report.page.build import report_html
from causaldsl.report.pictures import draw_dot
from causaldsl.report.saved_pairs import saved_lines
from causaldsl.report.saved_sources import write_sources
from causaldsl.report.view import View
from causaldsl.results.records import Results
from causaldsl.results.values import FILE as VALUES
from causaldsl.results.values import Block, write_values

_USUAL = Settings()


def write_run(
    folder: Path,
    program: CheckedProgram,
    graph: Graph,
    results: Results,
    subspaces: Mapping[str, Mapping[str, Any]],
    by_pair: Iterable[Block] = (),
    settings: Settings = _USUAL,
) -> None:
    """Write results, numbers by pair, program, graph, pictures, pairs and subspaces.

    ``subspaces`` gives, by name, the tensors of each named subspace; ``settings`` are those of the
    run, which `causaldsl verify` needs.
    """
    (folder / "results.json").write_text(results.model_dump_json(indent=1) + "\n", "utf-8")
    write_values(folder / VALUES, by_pair)
    write_sources(folder, program, settings)
    (folder / f"{program.path.stem}.cpatch").write_text(program.source.text, "utf-8")
    (folder / "graph.txt").write_text(graph_text(graph), "utf-8")
    (folder / "graph.json").write_text(graph_json(graph), "utf-8")
    draw_dot(graph_dot(program, graph, results), folder / "graph.svg")
    _subspaces(folder / "subspaces", subspaces)
    with tempfile.TemporaryDirectory() as drawn:
        view = View(program, graph, results, folder, Path(drawn))
        _pairs(folder / "pairs", view)
        draw_pictures(view)
        (folder / "report.html").write_text(report_html(view), "utf-8")  # it holds the pictures


def draw_pictures(view: View) -> None:
    """Draw every picture into the run's folder; those that are no SVG there also for the page."""
    for picture in pictures(view):
        if picture.suffix:
            picture.draw(view.folder / f"{picture.stem}{picture.suffix}")
        if picture.suffix != ".svg" and view.drawn is not None:
            picture.draw(view.drawn / f"{picture.stem}.svg")


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
