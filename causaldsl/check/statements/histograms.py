"""`histogram`: directions, sites and interventions, checked against every set of pairs."""

from __future__ import annotations

from typing import Literal

from causaldsl.check.agreement import check_place
from causaldsl.check.context import Context, checks
from causaldsl.check.held_out import check_held_out
from causaldsl.check.in_force import plain
from causaldsl.check.interventions import site_of
from causaldsl.check.loops import new_name
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.reach import can_reach
from causaldsl.check.runs import InForce
from causaldsl.check.values import Applied, Histogram, HistogramArm
from causaldsl.diagnostics import Diagnostics, Span, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import SIDES
from causaldsl.vocabulary.histograms import CLASS_STATISTICS, SEPARATIONS
from causaldsl.vocabulary.types import SubspaceType


@checks(ast.Histogram, experiment=True)
def histogram(context: Context, node: ast.Histogram) -> Histogram:
    """The arms of a histogram, and the classes that its projections fall into."""
    sets = tuple(context.pair_set(pairs, asked="nothing") for pairs in node.pairs)
    by, classes = _classes(sets, node)
    problems = Diagnostics()
    arms: list[HistogramArm] = []
    seen: dict[str, Span] = {}
    for arm in node.arms:
        with problems.collecting():
            new_name(arm.name, seen)
            arms.append(_arm(context, arm, sets, by == "side"))
    problems.raise_if_any()
    return Histogram(node.name.text, sets, tuple(arms), by, classes, node.span)


def _arm(
    context: Context, node: ast.Projection, sets: tuple[PairSet, ...], both: bool
) -> HistogramArm:
    along = context.of_type(node.direction, SubspaceType, "a subspace")
    if along.type.rank not in (1, None):
        raise wrong(
            "not-a-direction",
            f"a projection needs one direction; this has dimension {along.type.rank}",
            node.direction.span,
            "use a subspace of dimension 1",
        )
    place = context.place(node.site)
    width = place.site.width(context.shapes(node.site.span))
    if width is not None and along.type.width != width:
        raise wrong(
            "width-mismatch",
            f"this subspace has {along.type.width} dimensions, the site {width}",
            node.direction.span,
            "project a site on a direction of the same site; `u * W` carries u through a matrix",
        )
    if node.interventions is not None and place.site.is_virtual:
        raise wrong(
            "not-in-the-model",
            f"`{show(node.site)}` is no part of the model, so no intervention reaches it",
            node.site.span,
            "leave out `with`, or project a site of the model",
        )
    does, stages = InForce(())
    for pairs in sets:
        check_place(context, place, pairs, node.site.span, both)
        check_held_out(context, along, pairs, node.direction.span)
        if node.interventions is not None:
            does, stages = plain(
                context,
                node.interventions,
                pairs,
                "path-in-histogram",
                "a histogram shows what interventions do to a site, not what paths do",
            )
    interventions = tuple(one for one in does if isinstance(one, Applied))
    if node.interventions is not None:
        _check_reach(context, node.interventions, interventions, place, sets)
    label = f"{show(node.direction)} at {show(node.site)}"
    if node.interventions is not None:
        label += f" with {show(node.interventions)}"
    return HistogramArm(node.name.text, place, along, interventions, label, node.span, stages)


def _check_reach(
    context: Context,
    node: ast.Interventions,
    interventions: tuple[Applied, ...],
    place: Place,
    sets: tuple[PairSet, ...],
) -> None:
    """Every intervention must be able to change what is projected, in some prompt."""
    shapes = context.shapes(node.span)
    for applied in interventions:
        changed = site_of(applied)
        if not any(can_reach(changed, place, pairs, shapes) for pairs in sets):
            raise wrong(
                "out-of-reach",
                f"a change of {changed} does not reach {place}, so it would do nothing here",
                applied.span,
                "information moves to later sites and to the right: project one of these",
            )


def _classes(
    sets: tuple[PairSet, ...], node: ast.Histogram
) -> tuple[Literal["class", "side", "set"], tuple[str, ...]]:
    """Several sets are a class each; else the bases' classes; without any, base and source."""
    if len(sets) > 1:
        names = tuple(pairs.name.partition(".")[0] for pairs in sets)
        for i, name in enumerate(names):
            if name in names[:i]:
                raise wrong(
                    "name-twice",
                    f"`{name}` would be two classes",
                    node.pairs[i].span,
                    "each set of pairs is a class under its name",
                )
            _check_name(name, node.pairs[i].span, "give these pairs another name")
        return "set", names
    if not sets[0].classes:
        if not sets[0].paired:
            raise wrong(
                "no-source",
                f"`{sets[0].name}` has neither classes nor sources, so nothing to compare",
                node.pairs[0].span,
                "give its prompts classes, or name several sets: histogram h on a, b {..}",
            )
        return "side", SIDES
    of_bases = {prompt.cls for prompt in sets[0].side("base")}
    for name in of_bases:
        _check_name(name, node.pairs[0].span, "give the class another name in the file")
    return "class", tuple(cls for cls in sets[0].classes if cls in of_bases)


def _check_name(name: str, span: Span, way: str) -> None:
    if name in (*CLASS_STATISTICS, *SEPARATIONS):
        message = f"the class `{name}` would be called like a statistic"
        raise wrong("reserved-name", message, span, way)
