"""Loops of sweeps and tables: their variables, what these run over, and every combination."""

from __future__ import annotations

import itertools
from typing import Any

from causaldsl.check.context import Context
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import HeadValue, Point
from causaldsl.check.stages import layers_of, whole_range
from causaldsl.check.values import Axis, constant, label_of
from causaldsl.diagnostics import Label, Span, located, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.types import NumberType


def loops(
    context: Context,
    bindings: tuple[ast.Binding, ...],
    pairs: PairSet | None,
    span: Span,
    arms: int = 1,
) -> tuple[tuple[Axis, ...], list[tuple[tuple[str, ...], Context]]]:
    """The axes, and for every combination of values its labels and a scope in which they hold.

    They are counted before they are made, for each of ``arms`` arms.
    """
    names = [binding.name.text for binding in bindings]
    for i, binding in enumerate(bindings):
        if binding.name.text in names[:i]:
            raise wrong(
                "name-twice",
                f"the loop variable `{names[i]}` is used twice",
                binding.name.span,
                "choose another name",
            )
    axes = [_axis(context, binding, pairs) for binding in bindings]
    cells = 1
    for _, values in axes:
        cells *= len(values)
    _check_count(context, cells * arms, span)
    combinations = []
    for combination in itertools.product(*(values for _, values in axes)):
        bound = dict(zip(names, combination, strict=True))
        labels = tuple(label_of(value) for value in combination)
        combinations.append((labels, context.looping(bound)))
    if len({labels for labels, _ in combinations}) != len(combinations):
        raise wrong("arm-twice", "two cells have the same name", span, "list every value once")
    return tuple(axis for axis, _ in axes), combinations


def _check_count(context: Context, cells: int, span: Span) -> None:
    with located(span):
        context.limits.check("cells", cells, "sweep-size", "this has {} cells", "narrow a range")


def new_name(name: ast.Identifier, seen: dict[str, Span]) -> None:
    """Add an arm's name to those of its statement; an error if it is there."""
    if name.text in seen:
        raise wrong(
            "name-twice",
            f"the arm `{name.text}` is used twice",
            name.span,
            "choose another name",
            [Label(seen[name.text], "first defined here")],
        )
    seen[name.text] = name.span


def _axis(context: Context, binding: ast.Binding, pairs: PairSet | None) -> tuple[Axis, list[Any]]:
    values = _axis_values(context, binding.values, pairs)
    if not values:
        raise wrong(
            "empty-range",
            f"`{show(binding.values)}` is empty",
            binding.values.span,
            "write 2..3, not 3..2",
        )
    name = binding.name.text
    context.scope.check_free(name, binding.name.span)
    return Axis(name, tuple(label_of(value) for value in values)), values


def _axis_values(context: Context, node: Any, pairs: PairSet | None) -> list[Any]:
    shapes = context.shapes(node.span)
    if isinstance(node, ast.Name) and node.text == "layers":
        return [constant(i, node.span) for i in range(shapes.n_layers)]
    if isinstance(node, ast.Name) and node.text == "positions":
        return [constant(i, node.span) for i in range(_common_length(pairs, node.span))]
    if isinstance(node, ast.Range):
        values = whole_range(context, node)
        _check_count(context, values.stop - values.start, node.span)
        return [constant(i, node.span) for i in values]
    if isinstance(node, ast.Name) and node.text == "heads":
        return _heads(range(shapes.n_layers), shapes.n_heads)
    if isinstance(node, ast.Index) and isinstance(node.owner, ast.Name):
        if node.owner.text == "heads":
            return _heads(layers_of(context, node), shapes.n_heads)
        if node.owner.text == "layers":
            return [constant(i, node.span) for i in layers_of(context, node)]
    if isinstance(node, ast.SetOf | ast.ListOf):
        return [_member(context, item, pairs) for item in node.items]
    raise wrong(
        "not-a-set",
        f"`{show(node)}` is not something to sweep over",
        node.span,
        "write layers, heads, heads[7..9], positions, 0..9 or a set such as {7.3, 8.6}",
    )


def _member(context: Context, node: Any, pairs: PairSet | None) -> Any:
    """A member of a set: a head `7.3`, a number, or a named position with an offset."""
    if isinstance(node, ast.Negative):
        value = context.of_type(node, NumberType, "a number").number
        if value is not None:
            return constant(value, node.span)
    if isinstance(node, ast.Number):
        if "." in node.text and node.text.replace(".", "").isdigit():
            layer, _, number = node.text.partition(".")
            return HeadValue(int(layer), int(number), node.text)
        return constant(node.value, node.span)
    text = show(node).replace(" ", "")
    head = node.left if isinstance(node, ast.BinarySum) else node
    if isinstance(head, ast.Name):
        if head.text in context.scope.values:
            return context.value(node)
        if (point := Point.parsed(text)) is not None:
            _check_points(point, pairs, node.span)
            return point
    raise wrong(
        "not-a-member",
        f"`{show(node)}` can't be a member of a set",
        node.span,
        "members are numbers, heads such as 7.3, or positions such as END-1",
    )


def _check_points(point: Point, pairs: PairSet | None, span: Span) -> None:
    with located(span):
        for pair in pairs.pairs if pairs else ():
            point.resolve(pair.base)
            point.resolve(pair.source)


def _heads(layers: Any, n_heads: int) -> list[HeadValue]:
    return [HeadValue(layer, head) for layer in layers for head in range(n_heads)]


def _common_length(pairs: PairSet | None, span: Span) -> int:
    if pairs is None:
        raise wrong(
            "not-a-set",
            "a table has no prompts of its own whose token indices could be swept",
            span,
            "write a range such as 0..9, or name positions: {S2, END}",
        )
    lengths = {prompt.length for pair in pairs.pairs for prompt in (pair.base, pair.source)}
    if len(lengths) > 1:
        raise wrong(
            "unequal-length",
            f"the prompts of `{pairs.name}` have "
            f"{', '.join(str(n) for n in sorted(lengths))} tokens, so token indices don't "
            "line up",
            span,
            "name positions instead: {S1, S2, END}",
        )
    return lengths.pop()
