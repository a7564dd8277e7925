"""Everything that a run leaves, written into one folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram, Output
from causaldsl.graph.compile import Graph
from causaldsl.graph.printing import graph_json, graph_text
from causaldsl.model.tokens import Tokens
from causaldsl.report.comparisons import plot_comparison
from causaldsl.report.curves import plot_curves
from causaldsl.report.dot import graph_dot
from causaldsl.report.histograms import plot_histogram
from causaldsl.report.html.page import report_html
from causaldsl.report.pathways.draw import trace_dot
from causaldsl.report.pictures import render_dot
from causaldsl.report.plots import plot_sweep
from causaldsl.report.saved_pairs import saved_lines
from causaldsl.report.unplotted import draw_unplotted
from causaldsl.results.records import Results


def write_run(
    folder: Path,
    program: CheckedProgram,
    graph: Graph,
    results: Results,
    subspaces: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write results, program, graph, pictures, pairs and subspaces.

    ``subspaces`` gives, by name, the tensors of each named subspace.
    """
    (folder / "results.json").write_text(results.model_dump_json(indent=1) + "\n", "utf-8")
    (folder / f"{program.path.stem}.cpatch").write_text(program.source.text, "utf-8")
    (folder / "graph.txt").write_text(graph_text(graph), "utf-8")
    (folder / "graph.json").write_text(graph_json(graph), "utf-8")
    _picture(folder, "graph", ".svg", graph_dot(program, graph, results))
    for output in program.outputs:
        _output(folder, output, program, graph, results)
    _unasked(folder, program, results)
    _pairs(folder / "pairs", graph, program.tokens)
    _subspaces(folder / "subspaces", subspaces)
    page = _report(folder, program, graph, results)  # last: it holds the pictures
    (folder / "report.html").write_text(page, "utf-8")


def _report(folder: Path, program: CheckedProgram, graph: Graph, results: Results) -> str:
    """The page; what was asked for in another format, or not at all, is drawn as SVG for it."""
    with tempfile.TemporaryDirectory() as drawn:
        for output in program.outputs:
            if output.suffix != ".svg":
                _output(Path(drawn), replace(output, suffix=".svg"), program, graph, results)
        draw_unplotted(program, results, Path(drawn))
        return report_html(program, graph, results, folder, Path(drawn))


def _output(
    folder: Path, output: Output, program: CheckedProgram, graph: Graph, results: Results
) -> None:
    if output.kind == "plot":
        _plot(results, output, folder / f"{output.stem}{output.suffix}")
        return
    if output.target in results.traces:
        dot = _trace(program, results, output.target)
        _picture(folder, output.stem, output.suffix, dot)
        return
    only = None if output.target == "graph" else output.target
    _picture(folder, output.stem, output.suffix, graph_dot(program, graph, results, only))


def _plot(results: Results, output: Output, path: Path) -> None:
    """A histogram; curves of a table, or of a sweep by one of its variables; else a heatmap."""
    plot = results.plots[output.stem]
    if output.target in results.histograms:
        plot_histogram(results, output.target, path)
    elif output.target in results.tables or plot.by or plot.relative is not None:
        plot_curves(results, plot, path)
    else:
        plot_sweep(results, output.target, path)


def _unasked(folder: Path, program: CheckedProgram, results: Results) -> None:
    """Pictures of the traces that no `render` names, and of the comparisons."""
    rendered = {output.target for output in program.outputs}
    taken = {output.stem for output in program.outputs}
    for name in results.traces:
        if name not in rendered | taken:
            _picture(folder, name, ".svg", _trace(program, results, name))
    for name, comparison in results.comparisons.items():
        model = str(results.provenance.get("model", ""))
        stem = re.sub(r"\W+", "_", name).strip("_")
        if stem not in taken:
            plot_comparison(comparison, model, folder / f"{stem}.svg")


def _trace(program: CheckedProgram, results: Results, name: str) -> str:
    model = program.model.name if program.model else ""
    return trace_dot(results.traces[name], f"{name} of {program.path.name}", model)


def _picture(folder: Path, stem: str, suffix: str, dot: str) -> None:
    (folder / f"{stem}.dot").write_text(dot, "utf-8")
    render_dot(dot, folder / f"{stem}{suffix}")


def _pairs(folder: Path, graph: Graph, tokens: Tokens | None) -> None:
    folder.mkdir()
    for pairs in graph.pairs.values():
        lines = saved_lines(pairs, tokens)
        (folder / f"{pairs.name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def _subspaces(folder: Path, subspaces: Mapping[str, Mapping[str, Any]]) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    for name, tensors in subspaces.items():
        save_file(dict(tensors), str(folder / f"{name}.safetensors"))
