"""The outline of a program: its statements, with what has a name in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from causaldsl.diagnostics import Span
from causaldsl.syntax import ast
from causaldsl.syntax.ast import definition
from causaldsl.syntax.format import show
from causaldsl.syntax.names import ARMS

_LONGEST = 60


@dataclass(frozen=True)
class Outlined:
    """A part of a program: ``word`` is its statement's keyword, or what kind of part it is."""

    name: str
    word: str
    span: Span
    at: Span
    parts: tuple[Outlined, ...] = ()


def outline(statement: ast.Statement) -> Outlined | None:
    """A statement in the outline; None for one that neither names, claims nor draws anything."""
    word = statement.span.text.split(None, 1)[0] if statement.span.text.strip() else ""
    name = definition(statement)
    if name is not None:
        return Outlined(name.text, word, statement.span, name.span, tuple(_parts(statement)))
    if isinstance(statement, ast.Expect):
        text = show(statement.condition)
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        return Outlined(short, word, statement.span, statement.condition.span)
    if isinstance(statement, ast.Plot | ast.Render):
        return Outlined(f"{word} {statement.name.text}", word, statement.span, statement.name.span)
    return None


def _parts(statement: ast.Statement) -> Iterator[Outlined]:
    for child in statement.children():
        if isinstance(child, ARMS):
            yield Outlined(child.name.text, "arm", child.span, child.name.span)
        if isinstance(child, ast.Positions):
            for one in child.definitions:
                yield Outlined(one.name.text, "position", one.span, one.name.span)
