"""Walking the statements of a file: each is checked by the function registered for its class."""

from __future__ import annotations

from typing import Any

from causaldsl.check.context import CHECKS, Context
from causaldsl.check.unknown import note_of_unknown
from causaldsl.diagnostics import Diagnostic, ProgramError, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.ast import definition

MOST = 100
"""Mistakes after which a program is not checked further."""


def check_statements(context: Context, tree: ast.Program) -> None:
    """Check all statements in order, and define what they define; mistakes are collected."""
    foresee(context, tree)
    for statement in tree.statements:
        if len(context.problems.found) >= MOST:
            message = f"there are {MOST} mistakes and perhaps more: the rest is not checked"
            context.problems.add(
                Diagnostic("too-many", message, statement.span, "mend these first")
            )
            return
        check_statement(context, statement)


def foresee(context: Context, tree: ast.Program) -> None:
    """Note which names a file defines anywhere, and which variables its loops have."""
    scope = context.scope
    for statement in tree.statements:
        for binding in getattr(statement, "bindings", ()):
            scope.loops.setdefault(binding.name.text, binding.span)
        name = definition(statement)
        if name is not None:
            scope.later.setdefault(name.text, name.span)


def check_statement(context: Context, statement: ast.Node) -> None:
    """Check one statement, and define what it defines; mistakes are collected."""
    scope, name = context.scope, definition(statement)
    scope.touched = {}
    with context.problems.collecting(statement.span):
        try:
            value = _check(context, statement)
            if name is not None:
                scope.define(name.text, name.span, value)
                scope.choices[name.text] = scope.touched
        except ProgramError as error:
            if name is not None:
                scope.give_up(name.text, name.span)
            note_of_unknown(context, error.diagnostics)
            raise


def _check(context: Context, statement: ast.Node) -> Any:
    if type(statement) not in CHECKS:
        word = statement.span.text.split()[0]
        message = f"`{word}` is a statement that `check` does not know"
        raise wrong("unknown-statement", message, statement.span)
    return CHECKS[type(statement)].check(context, statement)
