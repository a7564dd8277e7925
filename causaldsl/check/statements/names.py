"""`site`, `subspace` and `let`: a name for what an expression stands for."""

from __future__ import annotations

from typing import Any

from causaldsl.check.context import Context, checks
from causaldsl.check.places import Place
from causaldsl.check.values import Applied
from causaldsl.syntax import ast
from causaldsl.vocabulary.types import SubspaceType


@checks(ast.Site)
def site(context: Context, node: ast.Site) -> Place:
    return context.place(node.value, positioned=False)


@checks(ast.Subspace)
def subspace(context: Context, node: ast.Subspace) -> Applied:
    value: Applied = context.of_type(node.value, SubspaceType, "a subspace")
    return value


@checks(ast.Let)
def let(context: Context, node: ast.Let) -> Any:
    return context.value(node.value)
