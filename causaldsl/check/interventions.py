"""Interventions: `patch mlp along v`, and whether they fit the pairs that they are made on."""

from __future__ import annotations

from collections.abc import Sequence

from causaldsl.check.agreement import check_amounts, check_place, check_sides
from causaldsl.check.apply import apply_at, build
from causaldsl.check.attention import check_pattern
from causaldsl.check.cautions import warn_of_positions
from causaldsl.check.context import Context, Located
from causaldsl.check.held_out import check_held_out
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.runs import Origin, check_origin, from_elsewhere
from causaldsl.check.stages import stage_places
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import Change
from causaldsl.vocabulary.circuits import CircuitVerb
from causaldsl.vocabulary.foreign import word_meant
from causaldsl.vocabulary.interventions import Ablate, Steer
from causaldsl.vocabulary.subspaces import Neurons


def interventions(context: Context, node: ast.Intervention) -> tuple[Applied, ...]:
    """What a verb does at each of its sites, whatever pairs it will be made on."""
    verb, known = node.verb.text, context.words.interventions
    if verb not in known:
        context.scope.check_words()
        raise wrong(
            "unknown-intervention",
            f"there is no intervention `{verb}`",
            node.verb.span,
            word_meant(verb, known, "interventions"),
        )
    cls = known[verb]
    assert issubclass(cls, Change)
    if issubclass(cls, CircuitVerb):
        raise wrong(
            "circuit-here",
            f"`{verb}` makes a run of its own, and can't stand here",
            node.span,
            "write it as an arm of a measure or sweep",
        )
    attends = cls.operands[0].kind == "attention"
    places = stage_places(context, node.site, "attends" if attends else "acts")
    if any(clause.word in cls.origins for clause in node.clauses):
        return from_elsewhere(context, cls, node, places)
    named = [(ast.Identifier(c.span, c.word), c.value) for c in node.clauses]
    along = _one_feature(context, cls, places, node)
    return apply_at(context, cls, places, named, node, along)


def _one_feature(
    context: Context, cls: type[Change], places: Sequence[Place], node: ast.Intervention
) -> dict[str, Located]:
    """`steer f.features[12] @ END by 3` says along what: along this feature."""
    said = any(clause.word == "along" for clause in node.clauses)
    if cls is not Steer or said or [len(p.site.numbers or ()) for p in places] != [1]:
        return {}
    word, site = Neurons(indices=(0,)), {"site": Located(places[0], node.site.span)}
    return {"along": Located(build(context, word, site, node.site.span), node.site.span)}


def check_unbracketed(context: Context, node: ast.Node) -> None:
    """`patch (site) @ END` reads like a call, so a verb takes no brackets."""
    call = node.site if isinstance(node, ast.At) else node
    if not isinstance(call, ast.Call) or show(call.function) not in context.words.interventions:
        return
    verb = show(call.function)
    form = context.words.interventions[verb].signature()
    if call.arguments:
        site, *more = (show(argument) for argument in call.arguments)
        position = show(node.position) if isinstance(node, ast.At) else "".join(more[:1])
        form = f"{verb} {site}" + (f" @ {position}" if position else "")
    raise wrong("bad-call", "an intervention takes no brackets", node.span, f"write {form}")


def site_of(applied: Applied) -> Place:
    """Where an intervention acts."""
    place = applied.operand("site")
    assert isinstance(place, Place)
    return place


def check_all_on(
    context: Context, does: Sequence[Applied], pairs: PairSet, span: Span, use: Span
) -> None:
    """:func:`check_on` for many: of those that differ in their sites alone, for one."""
    seen: set[object] = set()
    for applied in does:
        place = site_of(applied)
        others = tuple(id(v) for name, v in applied.operands if name != "site")
        layer = place.site.layer if place.site.is_pattern else None  # layers differ in windows
        kind = place.site.is_virtual, place.site.is_pattern, layer
        like = (type(applied.word), applied.word, others, place.position, kind)
        if like not in seen:
            seen.add(like)
            check_on(context, applied, pairs, span, use)


def check_on(context: Context, applied: Applied, pairs: PairSet, span: Span, use: Span) -> None:
    """Whether an intervention can be made on these pairs.

    ``span`` is the intervention, ``use`` where its site is named in it.
    """
    place, origin = site_of(applied), applied.operand("from")
    check_sides(applied.word, pairs, span)
    check_place(context, place, pairs, use, both="source" in applied.word.sides)
    if isinstance(origin, Origin):
        check_origin(origin, place, pairs, use)
        if origin.side in pairs.sources and origin.of is None and origin.at is None:
            warn_of_positions(context, place, pairs, [], pairs.sources[origin.side])
    check_amounts(applied, place, pairs, span, use)
    check_pattern(applied, place, pairs, context.shapes(span), span)
    if isinstance(applied.word, Ablate) and applied.word.by == "template":
        _check_templates(pairs, span)
    check_held_out(context, applied, pairs, span)


def _check_templates(pairs: PairSet, span: Span) -> None:
    if not all(pair.template for pair in pairs.pairs):
        raise wrong(
            "no-templates",
            f"not every pair of `{pairs.name}` is from a template",
            span,
            "write `to mean`, over all pairs",
        )
