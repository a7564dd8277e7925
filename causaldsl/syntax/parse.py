"""Text to tree."""

from __future__ import annotations

import dataclasses

from causaldsl.diagnostics import ProgramError, Source
from causaldsl.syntax import ast
from causaldsl.syntax.recover import read


def parse(source: Source) -> ast.Program:
    """The syntax tree of a program.

    Raises:
        ProgramError: with every syntax error.

    >>> parse(Source("x.cpatch", 'let layer = 20')).statements[0].name.text
    'layer'
    """
    program, errors = read(source)
    if errors:
        raise ProgramError(errors)
    return program


def tree_text(program: ast.Program) -> str:
    """The tree printed one node a line, for `causaldsl check --tree` and golden tests."""
    lines: list[str] = []

    def show(node: ast.Node, depth: int) -> None:
        plain = [
            repr(getattr(node, f.name))
            for f in dataclasses.fields(node)
            if f.name not in ("span", "comments") and isinstance(getattr(node, f.name), str)
        ]
        line, column = node.span.source.line_column(node.span.start)
        lines.append(f"{'  ' * depth}{' '.join([type(node).__name__, *plain])}  {line}:{column}")
        for child in node.children():
            show(child, depth + 1)

    show(program, 0)
    return "\n".join(lines)
