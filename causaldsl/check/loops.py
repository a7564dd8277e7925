"""Loops of sweeps and tables: their variables, what these run over, and every combination."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from causaldsl.check.context import Context
from causaldsl.check.measurements import Axis
from causaldsl.check.pairs import PairSet
from causaldsl.check.parts import nodes_in
from causaldsl.check.places import Place, Point, head_of
from causaldsl.check.sets import Members
from causaldsl.check.stages import set_in_braces, whole_range
from causaldsl.check.unknown import unknown
from causaldsl.check.values import constant, label_of
from causaldsl.diagnostics import Label, Span, located, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show

SEED = "seed"
"""The option whose values are seeds, as those are that end so, and what these values are."""


def loops(
    context: Context,
    bindings: tuple[ast.Binding, ...],
    pairs: PairSet | None,
    span: Span,
    body: Sequence[ast.Node],
) -> tuple[tuple[Axis, ...], list[tuple[tuple[str, ...], Context]]]:
    """The axes, and for every combination of values its labels and a scope in which they hold.

    They are counted before they are made, for each arm of the ``body``.
    """
    names = [binding.name.text for binding in bindings]
    chosen = frozenset(b.name.text for b in bindings if unknown(context, b.values))
    for i, binding in enumerate(bindings):
        if binding.name.text in names[:i]:
            raise wrong(
                "name-twice",
                f"the loop variable `{names[i]}` is used twice",
                binding.name.span,
                "choose another name",
            )
    nodes = [node for part in body for node in part.walk()]
    axes = [_axis(context, binding, pairs, nodes) for binding in bindings]
    cells = 1
    for _, values in axes:
        cells *= len(values)
    _check_count(context, cells * len(body), span)
    combinations = []
    for combination in itertools.product(*(values for _, values in axes)):
        bound = dict(zip(names, combination, strict=True))
        labels = tuple(label_of(value) for value in combination)
        combinations.append((labels, context.looping(bound, chosen)))
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


def _axis(
    context: Context, binding: ast.Binding, pairs: PairSet | None, body: Iterable[ast.Node]
) -> tuple[Axis, list[Any]]:
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
    labels = tuple(label_of(value) for value in values)
    quantity = _quantity(context, name, values, body)
    return Axis(name, labels, values=tuple(values), quantity=quantity), values


def _quantity(context: Context, name: str, values: Sequence[Any], body: Iterable[ast.Node]) -> str:
    """What the values of a variable are: heads or positions, or where numbers stand in the body."""
    if all(head_of(value) is not None for value in values):
        return "head"
    if isinstance(values[0], Point):
        return "position"
    if any(isinstance(value, Place) for value in values):
        return ""
    found = set()
    for node in body:
        if isinstance(node, ast.Position) and name in (node.first, node.last):
            found.add("token")
        if isinstance(node, ast.Option) and _seeds(node, name):
            found.add(SEED)
        if isinstance(node, ast.Index) and not _is_defined(context, node.owner):
            found |= _indexed(node.at, name)
    return found.pop() if len(found) == 1 else ""


def _seeds(node: ast.Option, name: str) -> bool:
    """Whether an option is a seed, which is this variable."""
    is_seed = node.name.text == SEED or node.name.text.endswith(f"_{SEED}")
    return is_seed and isinstance(node.value, ast.Name) and node.value.text == name


def _is_defined(context: Context, owner: ast.Node) -> bool:
    """Whether a cell is meant: of a sweep or table, which the program defined."""
    parts = (part for part in owner.walk() if isinstance(part, ast.Name))
    return any(context.knows(part.text) for part in parts)


def _indexed(at: ast.Node, name: str) -> set[str]:
    """What a variable is in brackets behind a word: the layer in `[l]`, either in `[l.h]`."""
    if isinstance(at, ast.Attribute):
        return _indexed(at.owner, name) | ({"head"} if at.name.text == name else set())
    return {"layer"} if isinstance(at, ast.Name) and at.text == name else set()


_SETS = (ast.SetOf, ast.Index, ast.Name, ast.Difference, ast.Call, ast.Attribute, ast.At)
"""Expressions that can stand for a set."""


def _axis_values(context: Context, node: Any, pairs: PairSet | None) -> list[Any]:
    if isinstance(node, ast.Name) and node.text == "positions":
        return [constant(i, node.span) for i in range(_common_length(pairs, node.span))]
    if isinstance(node, ast.Range):
        values = whole_range(context, node)
        _check_count(context, values.stop - values.start, node.span)
        return [constant(i, node.span) for i in values]
    if isinstance(node, ast.ListOf):
        found: Any = set_in_braces(context, node)
    elif isinstance(node, _SETS):
        found = context.value(node)
    else:
        found = None
    if not isinstance(found, Members):
        raise wrong(
            "not-a-set",
            f"`{show(node)}` is not something to sweep over",
            node.span,
            "write layers, heads, heads[7..9], positions, 0..9 or a set such as {7.3, 8.6}",
        )
    if found.positions and found.of != "mlps":
        raise wrong(
            "not-a-set",
            f"`{show(node)}` is {found.kind} at positions, of which no activation is named",
            node.span,
            "loop over the set alone, and write `@` behind what is done: patch head[h].z @ END",
        )
    if found.of == "sites" or found.positions:
        return list(nodes_in(found, node.span))
    for member in found.members:
        if isinstance(member, Point):
            _check_points(member, pairs, node.span)
    return list(found.members)


def _check_points(point: Point, pairs: PairSet | None, span: Span) -> None:
    with located(span):
        for pair in pairs.pairs if pairs else ():
            point.resolve(pair.base)
            point.resolve(pair.source)


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
