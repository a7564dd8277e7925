"""The program's text, with what each statement gave beside it."""

from __future__ import annotations

from dataclasses import dataclass

from causaldsl.diagnostics import Source
from causaldsl.report.html.code import code_lines
from causaldsl.report.html.markup import Html, join, section, tag
from causaldsl.report.page.panels import panel
from causaldsl.report.view import View
from causaldsl.syntax import ast
from causaldsl.syntax.parse import parse


@dataclass
class _Piece:
    """Lines of the program that belong together, and what they gave."""

    last: int
    beside: list[Html]
    below: list[Html]


def program_section(view: View) -> Html:
    """The program piece by piece, then the files that it imports, folded away."""
    source = view.program.source
    imported = [_imported(view, other) for other in view.sources[1:]]
    pieces = tag("div", _pieces(view, source, view.tree), class_="program")
    return section("program", "The program and what it gave", pieces, imported)


def _imported(view: View, source: Source) -> Html:
    name = source.name.replace("\\", "/").rpartition("/")[2]
    summary = tag("summary", "Imported: ", tag("code", name))
    tree = parse(source)
    pieces = tag("div", _pieces(view, source, tree), class_="program")
    return tag("details", summary, pieces, class_="printed")


def _pieces(view: View, source: Source, tree: ast.Program) -> list[Html]:
    """Every line of the text once, cut behind the statements that gave something."""
    lines = source.text.rstrip("\n").split("\n")
    done: list[_Piece] = []
    for statement in tree.statements:
        beside, below = panel(view, statement)
        if beside is None and below is None:
            continue
        last, _ = source.line_column(max(statement.span.start, statement.span.end - 1))
        while last < len(lines) and not lines[last].strip():
            last += 1  # empty lines stand at the end of a piece
        if not done or done[-1].last < last:
            done.append(_Piece(last, [], []))
        done[-1].beside += [beside] if beside else []
        done[-1].below += [below] if below else []
    if not done or done[-1].last < len(lines):
        done.append(_Piece(len(lines), [], []))
    made = []
    first = 1
    for piece in done:
        text = "\n".join(line.rstrip("\r") for line in lines[first - 1 : piece.last])
        made.append(_piece(text, first, view.prefix(source).removesuffix("-"), piece))
        first = piece.last + 1
    return made


def _piece(text: str, first: int, prefix: str, piece: _Piece) -> Html:
    beside = tag("div", join(*piece.beside), class_="beside") if piece.beside else None
    below = tag("div", join(*piece.below), class_="below") if piece.below else None
    # The first line of a `pre` is never its line break.
    return tag("div", tag("pre", code_lines(text, first, prefix)), beside, below, class_="piece")
