"""`top(k, SWEEP.METRIC)`: the members of a loop whose cells have the largest values.

`top(k, ATTRIBUTION)`: the sites with the largest estimates, whatever their sign.

Which these are is known only after the sweep has run. `check` takes the loop's last members in
their place, or its first ones where it refuses the last; a run makes the sweep first, and checks
the program again with those that it found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from causaldsl.check.attributed import CheckedAttribution
from causaldsl.check.choices import ESTIMATE, Choice
from causaldsl.check.claims import measured_on
from causaldsl.check.context import Context
from causaldsl.check.held_out import based_in
from causaldsl.check.kinds import describe
from causaldsl.check.measurements import Cells, Measurement
from causaldsl.check.pairs import PairSet
from causaldsl.check.parts import kind_of
from causaldsl.check.sets import Members, set_of
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show

_WRITE = "write top(3, SWEEP.METRIC), of a sweep with one loop variable and one arm"

_NAMED = 100
"""Members of a set that a note names: of edges there may be thousands, which `circuits/` has."""


def top(context: Context, node: ast.Call) -> Members:
    """The set, as far as it is known."""
    if len(node.arguments) != 2 or any(isinstance(a, ast.Option) for a in node.arguments):
        raise wrong("too-many", "`top` takes a number and a metric of a sweep", node.span, _WRITE)
    how_many, of = node.arguments
    assert isinstance(how_many, ast.Expression)
    assert isinstance(of, ast.Expression)
    _check_order(context, how_many, of, node)
    count, value = context.integer(how_many, "how many"), context.value(of)
    if isinstance(value, CheckedAttribution):
        return _top_estimates(context, value, count, how_many, node)
    if not isinstance(value, Cells):
        message = f"`{show(of)}` is {describe(value)}, not a metric over a sweep"
        raise wrong("wrong-kind", message, of.span, _WRITE)
    name = value.values[0].operand("measure")
    sweep = context.scope.values[str(name)]
    assert isinstance(sweep, Measurement)
    cells = {run.name: run.coordinates for run in sweep.runs}
    labels = tuple(cells[_arm(one)][0] for one in value.values)
    if len(sweep.axes) > 1 or len(set(labels)) < len(labels):
        message = f"`{show(of)}` has several loop variables or arms, so a cell is no one member"
        raise wrong("which-cell", message, of.span, _WRITE)
    _check_count(count, len(labels), "cells", how_many.span)
    metric = str(value.values[0].word.measured)
    choice = Choice(sweep.name, metric, tuple(map(_arm, value.values)), labels, count)
    (axis,) = sweep.axes
    values = dict(zip(axis.labels, axis.values, strict=True))
    return _members(context, choice, values, node)


def _check_order(
    context: Context, how_many: ast.Expression, of: ast.Expression, node: ast.Call
) -> None:
    """How many comes first."""
    if isinstance(of, ast.Number) and isinstance(
        context.value(how_many), CheckedAttribution | Cells
    ):
        message = f"`{show(how_many)}` is what `top` chooses from, and how many comes first"
        raise wrong("wrong-kind", message, node.span, f"write top({show(of)}, {show(how_many)})")


def _check_count(count: int, all_: int, what: str, span: Span) -> None:
    if not 1 <= count < all_:
        message = f"{count} of {all_} {what} can't be chosen"
        raise wrong("bad-count", message, span, f"choose from 1 to {all_ - 1} of them")


def _top_estimates(
    context: Context, found: CheckedAttribution, count: int, how_many: ast.Node, node: ast.Call
) -> Members:
    """Sites, edges, or (of one site) the numbers of neurons or features."""
    if found.numbered and len(found.places) > 1:
        what = "neurons" if found.neurons else "features"
        raise wrong(
            "several-sites",
            f"`{found.name}` is over {what} of {len(found.places)} sites, and a set is of one",
            node.span,
            "attribute to one site: over "
            + ("mlp_hidden[20] @ END by neuron" if found.neurons else "f.features @ END"),
        )
    names = found.names
    _check_count(count, len(names), "estimates", how_many.span)
    choice = Choice(found.name, ESTIMATE, names, names, count)
    return _members(context, choice, dict(zip(names, found.members(node.span), strict=True)), node)


def _arm(value: Applied) -> str:
    return str(value.word.identity()["arm"])


def _members(
    context: Context, choice: Choice, values: Mapping[str, Any], node: ast.Call
) -> Members:
    """The members with the labels that were chosen, of all ``values``."""
    program = context.program
    context.scope.touched[choice] = None
    found = program.chosen.get(choice)
    if found is None:
        below = context.scope.choices.get(choice.sweep, {})
        program.undecided[choice] = frozenset(below.keys() - program.chosen.keys())
        said = f"{show(node)}: a run finds out which of {len(choice.labels)} these are"
        found = choice.stand_ins(program.early)
    else:
        more = f", and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
        said = f"{show(node)} is {{{', '.join(found[:_NAMED])}{more}}}"
    if said not in program.readings:
        program.readings.append(said)
    shapes = context.shapes(node.span)
    chosen = set_of([(values[label], node.span) for label in found], shapes, node.span)
    return replace(chosen, among=frozenset(filter(None, map(kind_of, values.values()))))


def chosen_on_these(context: Context, claim: Applied) -> Choice | None:
    """What the statement at hand rests on that was chosen on pairs which a claim is about."""
    mine = [pairs for part in claim.walk() for pairs in measured_on(context, part)]
    return chosen_on(context, context.scope.touched, mine)


def chosen_on(
    context: Context, touched: Mapping[Choice, None], mine: Sequence[PairSet]
) -> Choice | None:
    """The last of some choices that was made on some of these pairs."""
    for choice in reversed(list(touched)):
        sweep = context.scope.values[choice.sweep]
        assert isinstance(sweep, Measurement | CheckedAttribution)
        if any(based_in(pairs, sweep.pairs) for pairs in mine):
            return choice
    return None
