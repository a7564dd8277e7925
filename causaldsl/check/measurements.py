"""`measure` and `sweep`: arms with their interventions, checked against the pairs they run on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from causaldsl.check.expressions import Expressions, constant
from causaldsl.check.pairs import PairSet
from causaldsl.check.paths import in_force, what_it_does
from causaldsl.check.scope import reserved
from causaldsl.check.stages import layers_of, whole_range
from causaldsl.check.values import Axis, HeadValue, Measurement, Point, Run, label_of
from causaldsl.diagnostics import Diagnostics, Label, Mistake, ProgramError, Span, suggest, wrong
from causaldsl.model.tokens import Tokens
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import NumberType
from causaldsl.vocabulary.metrics import METRICS

CLEAN = "clean"
MAX_CELLS = 5000


def check_measure(expressions: Expressions, node: ast.Measure) -> Measurement:
    """A `measure`: every arm under its name, and the clean run as the arm `clean`."""
    pairs = expressions.pair_set(node.pairs)
    problems = Diagnostics()
    runs = [Run(CLEAN, (), CLEAN, (), node.span)]
    seen: dict[str, Span] = {}
    for arm in node.arms:
        with problems.collecting():
            _new_arm(arm, seen)
            interventions = in_force(expressions, arm.interventions, pairs)
            label = what_it_does(expressions, arm.interventions)
            runs.append(Run(arm.name.text, interventions, label, (), arm.span))
    metrics: tuple[str, ...] = ()
    with problems.collecting():
        metrics = _metrics(expressions, node.report)
    problems.raise_if_any()
    return Measurement(node.name.text, pairs, tuple(runs), metrics, (), node.span)


def check_sweep(expressions: Expressions, node: ast.Sweep) -> Measurement:
    """A `sweep`: one run for every combination of its loop variables, in order."""
    pairs = expressions.pair_set(node.pairs)
    axes, combinations = loops(expressions, node.bindings, pairs, node.span)
    metrics = _metrics(expressions, node.report)
    runs = [Run(CLEAN, (), CLEAN, (), node.span)]
    for labels, inner in combinations:
        runs += _cell_runs(inner, node, pairs, labels)
    return Measurement(node.name.text, pairs, tuple(runs), metrics, axes, node.span)


def loops(
    expressions: Expressions,
    bindings: tuple[ast.Binding, ...],
    pairs: PairSet | None,
    span: Span,
) -> tuple[tuple[Axis, ...], list[tuple[tuple[str, ...], Expressions]]]:
    """The axes, and for every combination of values its labels and a scope in which they hold."""
    names = [binding.name.text for binding in bindings]
    for i, binding in enumerate(bindings):
        if binding.name.text in names[:i]:
            raise wrong(
                "name-twice",
                f"the loop variable `{names[i]}` is used twice",
                binding.name.span,
                "choose another name",
            )
    axes = [_axis(expressions, binding, pairs) for binding in bindings]
    cells = 1
    for _, values in axes:
        cells *= len(values)
    if cells > MAX_CELLS:
        raise wrong(
            "sweep-size",
            f"this has {cells} cells",
            span,
            f"at most {MAX_CELLS} are run; narrow a range",
        )
    combinations = []
    for combination in itertools.product(*(values for _, values in axes)):
        bound = dict(zip(names, combination, strict=True))
        inner = replace(expressions, loop={**expressions.loop, **bound})
        combinations.append((tuple(label_of(value) for value in combination), inner))
    if len({labels for labels, _ in combinations}) != len(combinations):
        raise wrong("arm-twice", "two cells have the same name", span, "list every value once")
    return tuple(axis for axis, _ in axes), combinations


def token_labels(pairs: PairSet, tokens: Tokens, length: int) -> tuple[str, ...]:
    """For each token index, the tokens that the prompts have there: `2 iffel/osse`."""
    labels = []
    for index in range(length):
        prompts = [prompt for pair in pairs.pairs for prompt in (pair.base, pair.source)]
        pieces = list(dict.fromkeys(tokens.piece(int(p.ids[index])).strip() for p in prompts))
        shown = "/".join(pieces[:2]) + ("/..." if len(pieces) > 2 else "")
        labels.append(f"{index} {shown}")
    return tuple(labels)


def _cell_runs(
    expressions: Expressions, node: ast.Sweep, pairs: PairSet, labels: tuple[str, ...]
) -> list[Run]:
    cell = f"[{'.'.join(labels)}]"
    if isinstance(node.body, ast.Interventions):
        interventions = in_force(expressions, node.body, pairs)
        label = what_it_does(expressions, node.body)
        return [Run(cell, interventions, label, labels, node.body.span)]
    seen: dict[str, Span] = {}
    runs = []
    for arm in node.body:
        _new_arm(arm, seen)
        interventions = in_force(expressions, arm.interventions, pairs)
        label = what_it_does(expressions, arm.interventions)
        runs.append(Run(arm.name.text + cell, interventions, label, labels, arm.span))
    return runs


def _new_arm(arm: ast.Arm, seen: dict[str, Span]) -> None:
    name = arm.name.text
    if name == CLEAN:
        raise wrong(
            "reserved-name",
            "`clean` is the arm without any intervention",
            arm.name.span,
            "it is always there; choose another name",
        )
    if name in METRICS:
        raise wrong(
            "reserved-name",
            f"`{name}` is a metric",
            arm.name.span,
            "choose another name for the arm",
        )
    new_name(arm.name, seen)


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
    expressions: Expressions, binding: ast.Binding, pairs: PairSet | None
) -> tuple[Axis, list[Any]]:
    values = _axis_values(expressions, binding.values, pairs)
    if not values:
        raise wrong(
            "empty-range",
            f"`{show(binding.values)}` is empty",
            binding.values.span,
            "write 2..3, not 3..2",
        )
    name = binding.name.text
    if name in reserved():
        raise wrong(
            "reserved-name",
            f"`{name}` is a word of the language",
            binding.name.span,
            "choose another loop variable",
        )
    if name in expressions.scope.values:
        raise wrong(
            "name-twice",
            f"the name `{name}` is used twice",
            binding.name.span,
            "choose another loop variable",
            [Label(expressions.scope.places[name], "first defined here")],
        )
    return Axis(name, tuple(label_of(value) for value in values)), values


def _axis_values(expressions: Expressions, node: Any, pairs: PairSet | None) -> list[Any]:
    shapes = expressions.shapes(node.span)
    if isinstance(node, ast.Name) and node.text == "layers":
        return [constant(i, node.span) for i in range(shapes.n_layers)]
    if isinstance(node, ast.Name) and node.text == "positions":
        return [constant(i, node.span) for i in range(_common_length(pairs, node.span))]
    if isinstance(node, ast.Range):
        return [constant(i, node.span) for i in whole_range(expressions, node)]
    if isinstance(node, ast.Name) and node.text == "heads":
        return _heads(range(shapes.n_layers), shapes.n_heads)
    if isinstance(node, ast.Index) and isinstance(node.owner, ast.Name):
        if node.owner.text == "heads":
            return _heads(layers_of(expressions, node), shapes.n_heads)
        if node.owner.text == "layers":
            return [constant(i, node.span) for i in layers_of(expressions, node)]
    if isinstance(node, ast.SetOf | ast.ListOf):
        return [_member(expressions, item, pairs) for item in node.items]
    raise wrong(
        "not-a-set",
        f"`{show(node)}` is not something to sweep over",
        node.span,
        "write layers, heads, heads[7..9], positions, 0..9 or a set such as {7.3, 8.6}",
    )


def _member(expressions: Expressions, node: Any, pairs: PairSet | None) -> Any:
    """A member of a set: a head `7.3`, a number, or a named position with an offset."""
    if isinstance(node, ast.Negative):
        value = expressions.of_type(node, NumberType, "a number").type.constant
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
        if head.text in expressions.scope.values:
            return expressions.value(node)
        point = Point.parse(text)
        _check_points(point, pairs, node.span)
        return point
    raise wrong(
        "not-a-member",
        f"`{show(node)}` can't be a member of a set",
        node.span,
        "members are numbers, heads such as 7.3, or positions such as END-1",
    )


def _check_points(point: Point, pairs: PairSet | None, span: Span) -> None:
    for pair in pairs.pairs if pairs else ():
        for prompt in (pair.base, pair.source):
            try:
                point.resolve(prompt)
            except Mistake as mistake:
                raise ProgramError([mistake.at(span)]) from None


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


def _metrics(expressions: Expressions, node: ast.Report) -> tuple[str, ...]:
    text = expressions.shapes(node.span).text
    offered = [m.word for m in METRICS.values() if (m.needs == "output") != text]
    for identifier in node.metrics:
        if identifier.text not in offered:
            raise wrong(
                "unknown-metric",
                f"there is no metric `{identifier.text}` here",
                identifier.span,
                suggest(identifier.text, offered, "metrics"),
            )
    return tuple(dict.fromkeys(identifier.text for identifier in node.metrics))
