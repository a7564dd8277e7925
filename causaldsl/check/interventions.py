"""Interventions: `patch mlp along v`, and whether they fit the pairs that they are made on."""

from __future__ import annotations

from causaldsl.check.agreement import check_held_out, check_place
from causaldsl.check.expressions import Expressions
from causaldsl.check.pairs import PairSet
from causaldsl.check.values import Applied, CheckedPath, Place
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import INTERVENTIONS
from causaldsl.vocabulary.interventions import Ablate


def intervention(expressions: Expressions, node: ast.Intervention) -> Applied:
    """One intervention, whatever pairs it will be made on."""
    verb = node.verb.text
    if verb not in INTERVENTIONS:
        raise wrong(
            "unknown-intervention",
            f"there is no intervention `{verb}`",
            node.verb.span,
            suggest(verb, INTERVENTIONS, "interventions"),
        )
    named = [(ast.Identifier(c.span, c.word), c.value) for c in node.clauses]
    return expressions.apply.word(expressions, INTERVENTIONS[verb], [node.site], named, node.span)


def check_unbracketed(node: ast.Node) -> None:
    """`patch (site) @ END` reads like a call, so a verb takes no brackets."""
    call = node.site if isinstance(node, ast.At) else node
    if not isinstance(call, ast.Call) or show(call.function) not in INTERVENTIONS:
        return
    verb = show(call.function)
    form = INTERVENTIONS[verb].signature()
    if isinstance(node, ast.At) and call.arguments:
        form = f"{verb} {show(call.arguments[0])} @ {show(node.position)}"
    raise wrong("bad-call", "an intervention takes no brackets", node.span, f"write {form}")


def plain(
    expressions: Expressions, node: ast.Interventions, pairs: PairSet, code: str, message: str
) -> tuple[Applied, ...]:
    """Interventions where no path may stand; ``code`` and ``message`` say so of one."""
    found = []
    for part in node.parts:
        if not isinstance(part, ast.Intervention):
            check_unbracketed(part)
            value = None if isinstance(part, ast.Chain) else expressions.value(part)
            path = value is None or isinstance(value, CheckedPath)
            raise wrong(
                code if path else "wrong-kind",
                message if path else f"`{show(part)}` is not an intervention",
                part.span,
                "write an intervention, such as patch SITE along SUBSPACE",
            )
        applied = intervention(expressions, part)
        check_on(applied, pairs, part.span, part.site.span)
        found.append(applied)
    return tuple(found)


def site_of(applied: Applied) -> Place:
    """Where an intervention acts."""
    place = applied.operand("site")
    assert isinstance(place, Place)
    return place


def check_on(applied: Applied, pairs: PairSet, span: Span, use: Span) -> None:
    """Whether an intervention can be made on these pairs.

    ``span`` is the intervention, ``use`` where its site is named in it.
    """
    word = applied.word
    if isinstance(word, Ablate) and word.to == "resample" and len(pairs) < 2:
        raise wrong(
            "too-few-pairs",
            "resampling needs another pair to take from",
            span,
            "measure on at least two pairs",
        )
    check_place(site_of(applied), pairs, use, both="source" in word.sides)
    check_held_out(applied, pairs, span)
