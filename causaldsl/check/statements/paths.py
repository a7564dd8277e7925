"""`path`: a name for one path."""

from __future__ import annotations

from causaldsl.check.context import Context, checks
from causaldsl.check.paths import path_of
from causaldsl.check.values import CheckedPath
from causaldsl.diagnostics import wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show


@checks(ast.Path)
def path(context: Context, node: ast.Path) -> CheckedPath:
    first, *others = node.interventions.parts
    if others:
        raise wrong(
            "not-a-path",
            "a path statement holds one path",
            others[0].span,
            "join paths where they are used: ARM = path_a + path_b",
        )
    if isinstance(first, ast.Intervention):
        raise wrong(
            "not-a-path",
            f"`{show(first)}` is no path: it goes nowhere",
            first.span,
            "say where it goes: ... -> heads[2..3].q @ END -> logits { freeze all  "
            "layernorm recompute }",
        )
    return path_of(context, first)
