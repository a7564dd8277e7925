"""Pictures: a pointer beside each `plot` and `render`, and those that stand nowhere else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from causaldsl.check.checked import Output
from causaldsl.report.dot import graph_dot
from causaldsl.report.html.markup import Content, Html, join, section, tag
from causaldsl.report.html.svg import figure
from causaldsl.report.kinds.base import Kind, Picture, asked, kind
from causaldsl.report.numbers import plain
from causaldsl.report.pictures import draw_dot
from causaldsl.report.view import View
from causaldsl.syntax import ast


@kind
class Outputs(Kind[None]):
    fields = ("plots",)
    page_place = 70

    def beside(self, view: View, statement: ast.Statement) -> Html | None:
        if not isinstance(statement, ast.Plot | ast.Render):
            return None
        for output in view.program.outputs:
            file = f"{output.stem}{output.suffix}"
            if output.span == statement.span and (view.folder / file).is_file():
                return _pointer(view, output.stem, file)
        return None

    def section(self, view: View) -> Html | None:
        """The pictures that don't stand at their statement, and the compiled graph."""
        wanted = [asked(view, output) for output in view.program.outputs]
        found = [figure(view, p.stem, p.suffix, p.caption, p.words) for p in wanted]
        for path in sorted(view.folder.glob("*.svg")):
            if path.stem != "graph":
                found.append(figure(view, path.stem, ".svg", f"{path.stem}, as the run drew it"))
        whole = "The compiled program with its measured effects"
        found.append(figure(view, "graph", ".svg", whole))
        shown = [picture for picture in found if picture is not None]
        return section("pictures", "Pictures", shown) if shown else None

    def asked(self, view: View, output: Output) -> Picture | None:
        """The graph, or the part of it that leads to a measure or sweep."""
        if output.kind != "render" or output.target not in ("graph", *view.results.measures):
            return None
        only = None if output.target == "graph" else output.target
        caption = f"{output.target}: its operations with the measured effects"
        return Picture(partial(draw_graph, view, only), output.stem, output.suffix, caption)


def draw_graph(view: View, only: str | None, path: Path) -> None:
    """Write the picture of the compiled graph with the measured effects; ``only`` one measure."""
    draw_dot(graph_dot(view.program, view.graph, view.results, only), path)


def _pointer(view: View, stem: str, file: Content) -> Html:
    if view.drawing(stem) is not None:
        file = tag("a", file, href=f"#figure-{stem}")
    return tag("p", "picture: ", file, _relative(view, stem), class_="small")


def _relative(view: View, stem: str) -> Html | None:
    """What a plot divides its numbers by."""
    plot = view.results.plots.get(stem)
    if plot is None or plot.relative is None:
        return None
    value = tag("b", plain(plot.relative))
    return join(", relative to ", tag("code", plot.relative_to), " = ", value)
