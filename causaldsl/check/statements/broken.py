"""A statement that can't be read: what it would have brought is missing, and no use says so."""

from __future__ import annotations

from causaldsl.check.context import Context, checks
from causaldsl.diagnostics import ProgramError
from causaldsl.syntax import ast


@checks(ast.Broken)
def broken(context: Context, node: ast.Broken) -> None:
    if node.keyword in ("import", "use"):
        context.scope.incomplete = True
    if node.keyword == "model":
        context.scope.model = node.span
    raise ProgramError([])
