"""`area(SWEEP.METRIC)`: the area under a sweep over circuits of growing size."""

from __future__ import annotations

from causaldsl.check.apply import arguments
from causaldsl.check.circuits import circuit_of
from causaldsl.check.context import Context
from causaldsl.check.kinds import describe
from causaldsl.check.measurements import Cells, Measurement
from causaldsl.check.values import Applied
from causaldsl.diagnostics import wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.circuits import Area
from causaldsl.vocabulary.types import NumberType

_WRITE = "write area(SWEEP.faithfulness), of `for k in {5, 10, 20}: only top(k, ..) else source`"


def area(context: Context, node: ast.Call) -> Applied:
    """The area, with where each cell stands: the share of its circuit."""
    positional, named = arguments(node)
    for name, _ in named:
        if name.text != "to":
            raise wrong("unknown-option", f"`area` has no option `{name.text}`", name.span, _WRITE)
    if len(positional) != 1 or len(named) > 1:
        raise wrong("too-many", "`area` takes one metric over a sweep", node.span, _WRITE)
    value = context.value(positional[0])
    if not isinstance(value, Cells):
        message = f"`{show(positional[0])}` is {describe(value)}, not a metric over a sweep"
        raise wrong("wrong-kind", message, positional[0].span, _WRITE)
    shares = [_share(context, cell, node) for cell in value.values]
    if len(set(shares)) < max(2, len(shares)):
        message = "an area needs circuits of two sizes at least, and each size once"
        raise wrong("bad-count", message, node.span, _WRITE)
    to = context.of_type(named[0][1], NumberType, "a number") if named else None
    if to is not None and to.number is None:
        message = f"`{show(named[0][1])}` is not known before the run"
        raise wrong("not-constant", message, named[0][1].span)
    word = Area(shares=tuple(shares), to=None if to is None else to.number)
    return Applied(word, (("of", value.values),), NumberType(), node.span)


def _share(context: Context, cell: Applied, node: ast.Call) -> float:
    sweep = context.scope.values[str(cell.operand("measure"))]
    assert isinstance(sweep, Measurement)
    arm = cell.word.identity()["arm"]
    found = circuit_of(next(run for run in sweep.runs if run.name == arm))
    if found is None:
        message = f"the cells of `{sweep.name}` are no runs on circuits"
        raise wrong("not-a-circuit", message, node.span, _WRITE)
    return found.fraction
