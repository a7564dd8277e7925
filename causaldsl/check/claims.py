"""What can be claimed: comparisons that intervals can decide, and which cell is the largest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from causaldsl.check.attributed import CheckedAttribution
from causaldsl.check.context import Context
from causaldsl.check.measurements import Cells, Measurement
from causaldsl.check.pairs import PairSet
from causaldsl.check.tabled import TableArm
from causaldsl.check.values import Applied, CheckedTrace, Histogram
from causaldsl.diagnostics import Span, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.numbers import (
    FEWEST_TEMPLATES,
    ArgmaxIs,
    Claimed,
    Compare,
    Largest,
    Smallest,
)
from causaldsl.vocabulary.types import TruthType

_WRITE = "write argmax(SWEEP.METRIC) is CELL"


def check_comparison(context: Context, node: ast.Comparison, left: Applied, right: Applied) -> None:
    """Refuse `==` and `!=` between numbers that are never equal, being measured."""
    if node.operator not in ("==", "!=") or not context.shapes(node.span).text:
        return
    if not any(part.word.estimated for side in (left, right) for part in side.walk()):
        return
    first, second = show(node.left), show(node.right)
    way = f"write abs({first} - {second}) {'<' if node.operator == '==' else '>'} 0.05"
    way += ", with the margin that matters"
    extremes = [side for side in (left, right) if isinstance(side.word, Largest | Smallest)]
    if extremes and node.operator == "==" and isinstance(extremes[0].word, Largest):
        way = "write argmax(SWEEP.METRIC) is CELL"
    message = f"`{node.operator}` compares measured numbers, which are never exactly equal"
    raise wrong("measured-equal", message, node.span, way)


def argmax_is(context: Context, call: ast.Call, node: ast.IsVerdict) -> Applied:
    """The claim that one cell of a sweep or table is the largest."""
    argument = call.arguments[0] if len(call.arguments) == 1 else None
    if not isinstance(argument, ast.Expression):
        raise wrong("missing-operand", "`argmax` takes one operand", call.span, _WRITE)
    value, at = context.value(argument), _cell(node.verdict)
    if isinstance(value, Cells) and isinstance(argument, ast.Attribute):
        cell = ast.Index(node.verdict.span, argument.owner, at)
        named: ast.Expression = ast.Attribute(argument.span, cell, argument.name)
    elif isinstance(value, TableArm):
        named = ast.Index(node.verdict.span, argument, at)
    else:
        message = f"`{show(argument)}` is no metric of a sweep, and no arm of a table"
        raise wrong("wrong-kind", message, argument.span, _WRITE)
    chosen: Applied = context.value(named)
    others = tuple(other for other in value.values if not other.alike(chosen))
    if not others:
        raise wrong("one-cell", "there is no other cell to be larger than", argument.span)
    operands = (("cell", chosen), ("others", others))
    return Applied(ArgmaxIs(), operands, TruthType(), node.span)


def _cell(node: ast.Expression) -> ast.Expression:
    """`20.0`, or `[20, END]` for several loop variables."""
    if isinstance(node, ast.ListOf) and len(node.items) > 1:
        return ast.Cell(node.span, node.items)
    return node.items[0] if isinstance(node, ast.ListOf) and node.items else node


def claimed(context: Context, value: Applied, node: ast.Expect) -> Applied:
    """A claim at the level, and over what its `expect` says."""
    said: dict[str, float | str] = {}
    if node.level is not None:
        if not 0.5 <= node.level.value < 1:
            message = f"{node.level.text} is no level of confidence"
            raise wrong("bad-level", message, node.level.span, "write one such as 0.95 or 0.99")
        said["level"] = node.level.value
    if node.over is not None:
        said["over"] = node.over
    if not said:
        return value
    if not isinstance(value.word, Claimed):
        message = "only a comparison, or `argmax(...) is ...`, has a level and templates"
        raise wrong("bad-level", message, node.span, "leave out `at` and `over`")
    if node.over == "templates":
        _check_templates(context, value, node.span)
    word = type(value.word).model_validate(value.word.model_dump() | said)
    return Applied(word, value.operands, value.type, value.span)


def _check_templates(context: Context, value: Applied, span: Span) -> None:
    sets = {pairs.name: pairs for part in value.walk() for pairs in measured_on(context, part)}
    for name, pairs in sets.items():
        if mixed := pairs.units.mixed:
            what = "unit that is" if mixed == 1 else "units that are each"
            raise wrong(
                "few-templates",
                "a claim over templates needs every unit to be from one of them; "
                f"the pairs `{name}` have {mixed} {what} from several",
                span,
                "pairs that share a prompt or a `cluster` are one unit; "
                "without `over templates` the claim is about new pairs from the same templates",
            )
        count = pairs.units.from_templates
        if count < FEWEST_TEMPLATES:
            has = f"come from {count}" if count else "say none"
            raise wrong(
                "few-templates",
                f"a claim over templates needs {FEWEST_TEMPLATES}; the pairs `{name}` {has}",
                span,
                "add templates to their prompts, or a `template` to each line of their file; "
                "without `over templates` the claim is about new pairs from the same templates",
            )


def measured_on(context: Context, applied: Applied) -> Iterator[PairSet]:
    """The pairs over which a word that is estimated is an average."""
    if not applied.word.estimated:
        return
    for _, operand in applied.operands:
        value: Any = context.scope.values[operand] if isinstance(operand, str) else operand
        if isinstance(value, Measurement | CheckedTrace | CheckedAttribution):
            yield value.pairs
        elif isinstance(value, Histogram):
            yield from value.sets
        elif isinstance(value, PairSet):
            yield value


def chosen_here(condition: Applied, others: Iterable[Applied]) -> Applied | None:
    """The number of a claim that another one says is the largest, on the same pairs."""
    largest: list[Any] = [c.operand("cell") for c in others if isinstance(c.word, ArgmaxIs)]
    if not largest or not isinstance(condition.word, Compare):
        return None
    parts = condition.walk()
    return next((part for part in parts if any(part.alike(cell) for cell in largest)), None)
