"""Walking the statements of a file: each is checked by the function registered for its class."""

from __future__ import annotations

from causaldsl.check.context import CHECKS, Context
from causaldsl.diagnostics import ProgramError
from causaldsl.syntax import ast


def check_statements(context: Context, tree: ast.Program) -> None:
    """Check all statements in order, and define what they define; mistakes are collected."""
    scope = context.scope
    for statement in tree.statements:
        for binding in getattr(statement, "bindings", ()):
            scope.loops.setdefault(binding.name.text, binding.span)
        name = _defined(statement)
        if name is not None:
            scope.later.setdefault(name.text, name.span)
    for statement in tree.statements:
        name = _defined(statement)
        with context.problems.collecting(statement.span):
            try:
                value = CHECKS[type(statement)].check(context, statement)
                if name is not None:
                    scope.define(name.text, name.span, value)
            except ProgramError:
                if name is not None:
                    scope.give_up(name.text, name.span)
                raise


def _defined(statement: ast.Node) -> ast.Identifier | None:
    """The name that a statement defines, if it defines one."""
    return getattr(statement, "name", None) if CHECKS[type(statement)].defines else None
