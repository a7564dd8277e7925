"""`expect`: claims, each a comparison or a verdict."""

from __future__ import annotations

from causaldsl.check.checked import Claim
from causaldsl.check.context import Context, checks
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.types import TruthType


@checks(ast.Expect, experiment=True)
def expect(context: Context, node: ast.Expect) -> None:
    condition = node.condition
    parts = condition.parts if isinstance(condition, ast.Conjunction) else (condition,)
    for part in parts:
        value = context.of_type(part, TruthType, "a comparison")
        context.program.claims.append(Claim(show(part), value, part.span))
