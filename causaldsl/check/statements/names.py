"""`site`, `set`, `subspace` and `let`: a name for what an expression stands for."""

from __future__ import annotations

from typing import Any

from causaldsl.check.context import Context, checks
from causaldsl.check.places import Place
from causaldsl.check.sets import Members
from causaldsl.check.stages import any_set
from causaldsl.check.values import Applied
from causaldsl.syntax import ast
from causaldsl.vocabulary.types import SubspaceType


@checks(ast.Site)
def site(context: Context, node: ast.Site) -> Place | Members:
    value = context.value(node.value)
    if isinstance(value, Members) and value.of == "sites":
        return value
    return context.as_place(value, node.value, positioned=False)


@checks(ast.Set)
def set_statement(context: Context, node: ast.Set) -> Members:
    return any_set(context, node.value, "{7.3, 8.6}")


@checks(ast.Subspace)
def subspace(context: Context, node: ast.Subspace) -> Applied:
    value: Applied = context.of_type(node.value, SubspaceType, "a subspace")
    return value


@checks(ast.Let)
def let(context: Context, node: ast.Let) -> Any:
    return context.value(node.value)
