"""Interventions: `patch mlp along v`, and whether they fit the pairs that they are made on."""

from __future__ import annotations

from causaldsl.check.agreement import check_amounts, check_held_out, check_place
from causaldsl.check.apply import apply
from causaldsl.check.context import Context
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.values import Applied, CheckedPath
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show


def intervention(context: Context, node: ast.Intervention) -> Applied:
    """One intervention, whatever pairs it will be made on."""
    verb, known = node.verb.text, context.words.interventions
    if verb not in known:
        context.scope.check_words()
        raise wrong(
            "unknown-intervention",
            f"there is no intervention `{verb}`",
            node.verb.span,
            suggest(verb, known, "interventions"),
        )
    named = [(ast.Identifier(c.span, c.word), c.value) for c in node.clauses]
    return apply(context, known[verb], [node.site], named, node.span)


def check_unbracketed(context: Context, node: ast.Node) -> None:
    """`patch (site) @ END` reads like a call, so a verb takes no brackets."""
    call = node.site if isinstance(node, ast.At) else node
    if not isinstance(call, ast.Call) or show(call.function) not in context.words.interventions:
        return
    verb = show(call.function)
    form = context.words.interventions[verb].signature()
    if isinstance(node, ast.At) and call.arguments:
        form = f"{verb} {show(call.arguments[0])} @ {show(node.position)}"
    raise wrong("bad-call", "an intervention takes no brackets", node.span, f"write {form}")


def plain(
    context: Context, node: ast.Interventions, pairs: PairSet, code: str, message: str
) -> tuple[Applied, ...]:
    """Interventions where no path may stand; ``code`` and ``message`` say so of one."""
    found = []
    for part in node.parts:
        if not isinstance(part, ast.Intervention):
            check_unbracketed(context, part)
            value = None if isinstance(part, ast.Chain) else context.value(part)
            path = value is None or isinstance(value, CheckedPath)
            raise wrong(
                code if path else "wrong-kind",
                message if path else f"`{show(part)}` is not an intervention",
                part.span,
                "write an intervention, such as patch SITE along SUBSPACE",
            )
        applied = intervention(context, part)
        check_on(context, applied, pairs, part.span, part.site.span)
        found.append(applied)
    return tuple(found)


def site_of(applied: Applied) -> Place:
    """Where an intervention acts."""
    place = applied.operand("site")
    assert isinstance(place, Place)
    return place


def check_on(context: Context, applied: Applied, pairs: PairSet, span: Span, use: Span) -> None:
    """Whether an intervention can be made on these pairs.

    ``span`` is the intervention, ``use`` where its site is named in it.
    """
    place = site_of(applied)
    check_place(context, place, pairs, use, both="source" in applied.word.sides)
    check_amounts(applied, place, pairs, span, use)
    check_held_out(applied, pairs, span)
