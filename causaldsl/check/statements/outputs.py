"""`plot` and `render`: what is drawn, along and by which loop variables, relative to what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from causaldsl.check.checked import Output
from causaldsl.check.context import Context, checks
from causaldsl.check.kinds import Value
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Label, located, suggest, wrong
from causaldsl.shown import is_plain
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.types import NumberType

_ENDINGS = (".svg", ".png", ".pdf")
_MOST_LINES = 28
"""Lines of one picture that colours and dashes tell apart."""
_LONGEST = 200
"""Bytes of a file's name, with room for what is added to it."""


@checks(ast.Plot, experiment=True)
def plot(context: Context, node: ast.Plot) -> None:
    value = _drawn(context, node, "plot", "a measure, sweep, table, histogram or attribution")
    relative, text = _relative(context, value, node)
    by = _variable(value, node, node.by)
    lines = _lines(value, node)
    _add(context, node, "plot", by=by, relative=relative, relative_to=text, lines=lines)


@checks(ast.Render, experiment=True)
def render(context: Context, node: ast.Render) -> None:
    if node.name.text != "graph":
        _drawn(context, node, "render", "`graph`, a measure, a sweep or a trace")
    _add(context, node, "render")


def _drawn(context: Context, node: ast.Plot | ast.Render, kind: str, what: str) -> Any:
    """The value that is drawn; ``what`` are those that can be."""
    value = context.scope.look_up(node.name.text, node.name.span)
    drawn = isinstance(value, Value) and (value.can_plot if kind == "plot" else value.can_render)
    if not drawn:
        message = f"`{node.name.text}` is not {what}"
        raise wrong("wrong-kind", message, node.name.span, f"{kind} takes {what}")
    return value


def _relative(context: Context, value: Value, node: ast.Plot) -> tuple[Applied | None, str]:
    """The number that all are divided by, with its text."""
    if node.relative is None:
        return None, ""
    value.check_divisor(node.relative.span)
    relative: Applied = context.of_type(node.relative, NumberType, "a number")
    value.check_divisor(node.relative.span, relative.word.measured)
    return relative, show(node.relative)


def _variable(value: Value, node: ast.Plot, named: ast.Identifier | None) -> str | None:
    """A loop variable of what is drawn."""
    if named is None:
        return None
    if named.text not in value.loop_variables:
        raise wrong(
            "no-axis",
            f"`{node.name.text}` has no loop variable `{named.text}`",
            named.span,
            suggest(named.text, value.loop_variables, "loop variables"),
        )
    return named.text


def _lines(value: Any, node: ast.Plot) -> str | None:
    """The loop variable whose values have a line each: another than that along x, if few enough."""
    name = _variable(value, node, node.lines)
    if name is None:
        return None
    assert node.lines is not None
    others = [other for other in value.loop_variables if other != name]
    if not others or (node.by is not None and node.by.text == name):
        message = f"`{name}` can't be along x and have a line for every value"
        way = f"write by {others[0]} lines {name}" if others else f"write by {name} alone"
        raise wrong("no-axis", message, node.lines.span, way)
    count = value.loop_variables[name] * len(value.cells)
    if count > _MOST_LINES:
        raise wrong(
            "too-many-lines",
            f"these are {count} lines, of which a reader can tell {_MOST_LINES} apart",
            node.lines.span,
            f"leave out `lines {name}`, or loop over fewer values",
        )
    return name


def _is_file_name(text: str) -> bool:
    """Whether a text can be the name of a picture's file, on every system, in one line."""
    name = Path(text)
    short = len(text.encode(errors="replace")) <= _LONGEST
    whole = name.name == text and "\\" not in text and not text.startswith(("-", "."))
    return is_plain(text) and short and whole and name.suffix in _ENDINGS


def _add(
    context: Context,
    node: ast.Plot | ast.Render,
    kind: str,
    **how: Any,
) -> None:
    """One more picture, in a file of its own inside the run's folder, drawn as ``how`` says."""
    target = node.name.text
    written = Path(node.path.text) if node.path else Path(f"{target}.svg")
    if node.path is not None and not _is_file_name(node.path.text):
        raise wrong(
            "bad-output",
            f"`{node.path.text}` is not the name of a picture",
            node.path.span,
            "it goes into the run's folder: use a plain name that ends in .svg, .png or .pdf",
        )
    if written.stem == "graph" and target != "graph":
        raise wrong(
            "output-twice",
            "the run's whole graph is called graph.svg",
            node.path.span if node.path else node.span,
            "choose another name",
        )
    outputs = context.program.outputs
    with located(node.span):
        context.limits.check("pictures", len(outputs) + 1, "too-many", "this is picture number {}")
    for other in outputs:
        if other.stem.casefold() == written.stem.casefold():  # one file on some systems
            raise wrong(
                "output-twice",
                f"two pictures are called {written.stem}",
                node.span,
                'name one of them: plot NAME as "other.svg"',
                [Label(other.span, "the other one")],
            )
    outputs.append(Output(kind, target, written.stem, written.suffix, node.span, **how))
