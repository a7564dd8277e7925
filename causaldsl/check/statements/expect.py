"""`expect`: claims, each a comparison or a verdict."""

from __future__ import annotations

from dataclasses import replace

from causaldsl.check.checked import Claim
from causaldsl.check.chosen import chosen_on_these
from causaldsl.check.claims import chosen_here, claimed
from causaldsl.check.context import Context, checks
from causaldsl.check.holding import warn_of_holding
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.numbers import ArgmaxIs
from causaldsl.vocabulary.types import TruthType


@checks(ast.Expect, experiment=True)
def expect(context: Context, node: ast.Expect) -> None:
    condition = node.condition
    parts = condition.parts if isinstance(condition, ast.Conjunction) else (condition,)
    tail = (f" over {node.over}" if node.over else "") + (
        f" at {node.level.text}" if node.level else ""
    )
    for part in parts:
        value = claimed(context, context.of_type(part, TruthType, "a comparison"), node)
        context.program.claims.append(Claim(show(part) + tail, value, part.span))
        warn_of_holding(context, value, part)
        if (choice := chosen_on_these(context, value)) is not None:
            _mark(context, -1, f"what {choice} chose on the same pairs")
    _mark_chosen(context)


def _mark_chosen(context: Context) -> None:
    """Mark claims on a cell that is claimed to be the largest on the same pairs, and warn."""
    claims = context.program.claims
    others = [c.condition for c in claims if isinstance(c.condition.word, ArgmaxIs)]
    for i, claim in enumerate(claims):
        if claim.selected:
            continue
        if chosen_here(claim.condition, others) is not None:
            _mark(context, i, "a cell that is claimed to be the largest on the same pairs")


def _mark(context: Context, number: int, said: str) -> None:
    claims = context.program.claims
    claim = claims[number] = replace(claims[number], selected=said)
    context.warn(
        "chosen-here",
        f"`{claim.text}` is about {said}: chosen for its size, it is too large on them",
        claim.span,
        "choose the cell on other pairs, such as the .train part, and claim its size on these",
    )
