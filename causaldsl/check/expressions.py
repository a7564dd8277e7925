"""Expressions: from syntax to typed values, one function for each kind of node."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from causaldsl.check.apply import apply, arguments, build, make, matrix
from causaldsl.check.claims import check_comparison
from causaldsl.check.context import Context, Located, handles
from causaldsl.check.kinds import Value, describe, no_part
from causaldsl.check.places import HeadValue, Place, PositionRef, SiteOwner
from causaldsl.check.values import Applied, constant, label_of
from causaldsl.diagnostics import Span, located, suggest, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.numbers import Arithmetic, Compare
from causaldsl.vocabulary.sites import SITE_WORDS
from causaldsl.vocabulary.subspaces import Combination, Image
from causaldsl.vocabulary.types import DataType, MatrixType, NumberType, SubspaceType, TruthType

_OWNERS = ("head", "kv_head")


@handles(ast.Name)
def name(context: Context, node: ast.Name) -> Any:
    text = node.text
    if text in context.loop:
        return context.loop[text]
    if text in SITE_WORDS and SITE_WORDS[text].index == "none":
        return _site(Site(text), context.shapes(node.span), node.span)
    if text in MATRIX_WORDS and MATRIX_WORDS[text].index == "none":
        return matrix(text, None, None, context.shapes(node.span), node.span)
    if text in SITE_WORDS or text in MATRIX_WORDS or text in _OWNERS:
        raise wrong("no-index", f"`{text}` needs an index", node.span, f"write {text}[...]")
    if text in context.words.functions:
        signature = context.words.functions[text].signature()
        raise wrong("no-call", f"`{text}` is a function", node.span, f"write {signature}")
    return context.scope.look_up(text, node.span)


def _site(site: Site, shapes: ModelDims, span: Span) -> Place:
    with located(span):
        site.check(shapes)
    return Place(site, None, span)


@handles(ast.Number)
def number(context: Context, node: ast.Number) -> Applied:
    if not math.isfinite(node.value):
        raise wrong("number-range", f"{node.text} is too large a number", node.span)
    return constant(node.value, node.span)


@handles(ast.String)
def string(context: Context, node: ast.String) -> str:
    return node.text


@handles(ast.ListOf, ast.SetOf)
def items(context: Context, node: ast.ListOf | ast.SetOf) -> tuple[Any, ...]:
    return tuple(context.value(item) for item in node.items)


@handles(ast.Range)
def whole_range(context: Context, node: ast.Range) -> Any:
    raise wrong("range-here", "a range can't stand here", node.span, "use it in `for x in 0..9`")


@handles(ast.Attribute)
def attribute(context: Context, node: ast.Attribute) -> Any:
    owner = context.value(node.owner)
    if not isinstance(owner, Value):
        raise no_part(owner, node)
    return owner.part(node)


@handles(ast.Index)
def index(context: Context, node: ast.Index) -> Any:
    if isinstance(node.owner, ast.Name) and node.owner.text not in context.loop:
        text = node.owner.text
        if text in SITE_WORDS or text in _OWNERS:
            return _site_at(context, text, node)
        if text in MATRIX_WORDS:
            headed = MATRIX_WORDS[text].index in ("head", "kv_head")
            layer, head = context.coordinates(node.at, headed)
            return matrix(text, layer, head, context.shapes(node.span), node.span)
    owner = context.value(node.owner)
    if not isinstance(owner, Value) or not owner.has_cells:
        raise wrong("no-index", f"{describe(owner)} can't be indexed", node.at.span)
    parts = node.at.parts if isinstance(node.at, ast.Cell) else (node.at,)
    return owner.cell(node, ".".join(_cell_part(context, part) for part in parts))


def _site_at(context: Context, word: str, node: ast.Index) -> Place | SiteOwner:
    """A site at a layer, or a head that waits for `.q`, `.k`, `.v`, `.z` or `.out`."""
    layer, head = context.coordinates(node.at, headed=word in _OWNERS)
    shapes = context.shapes(node.span)
    if head is not None:
        return SiteOwner(word, layer, head, shapes, node.span)
    if SITE_WORDS[word].index == "none":
        raise wrong("no-index", f"`{word}` has no index", node.span, f"write {word}")
    return _site(Site(word, layer), shapes, node.span)


def _cell_part(context: Context, node: ast.Expression) -> str:
    """`23.5`, `END`, `layer.number`: as written, with variables and params filled in."""
    if isinstance(node, ast.Attribute):
        last = ast.Name(node.name.span, node.name.text)
        return f"{_cell_part(context, node.owner)}.{_cell_part(context, last)}"
    if isinstance(node, ast.Name) and node.text in context.loop:
        return label_of(context.loop[node.text])
    first = node.left if isinstance(node, ast.BinarySum) else node
    if isinstance(first, ast.Name) and context.knows(first.text):
        value = context.value(node)
        if isinstance(value, Applied) and isinstance(value.type, NumberType):
            return show(node) if value.number is None else f"{value.number:g}"
    return show(node).replace(" ", "")


@handles(ast.Cell)
def cell(context: Context, node: ast.Cell) -> Any:
    raise wrong(
        "cell-here", "several values in brackets name a cell of a sweep or table", node.span
    )


@handles(ast.Call)
def called(context: Context, node: ast.Call) -> Any:
    if not isinstance(node.function, ast.Name):
        raise wrong("no-call", "only a function's name can stand before `(`", node.function.span)
    text, words = node.function.text, context.words
    maker = words.makers.get(text)
    if maker is not None and isinstance(maker.gives, DataType):
        raise wrong(
            "needs-name",
            f"what `{text}` makes needs a name",
            node.span,
            f"write {maker.gives} NAME = {maker.example or maker.signature()}",
        )
    if maker is not None:
        return replace(make(context, maker, node), span=node.span)
    if text == "argmax" and text not in words.functions:
        raise wrong(
            "argmax-here",
            "`argmax` names a cell, which is no number",
            node.span,
            "claim it: expect argmax(SWEEP.METRIC) is CELL",
        )
    if text not in words.functions:
        context.scope.check_words()
        sites = [word for word, cls in words.makers.items() if not isinstance(cls.gives, DataType)]
        raise wrong(
            "unknown-function",
            f"there is no function `{text}`",
            node.function.span,
            suggest(text, [*words.functions, *sites], "functions"),
        )
    return apply(context, words.functions[text], *arguments(node), node.span)


@handles(ast.At)
def at(context: Context, node: ast.At) -> Place:
    place = context.place(node.site, positioned=False)
    return Place(place.site, position_of(context, node, place), node.position.span)


def position_of(context: Context, node: ast.At, place: Place) -> PositionRef:
    """The position behind `@`; a site that has its position already can't be given another."""
    if place.position is not None:
        raise wrong(
            "two-positions",
            f"`{show(node.site)}` has a position already ({place})",
            node.position.span,
            "leave out this one",
        )
    written = (node.position.first, node.position.last)
    return PositionRef(*(context.point(text) for text in written if text is not None))


@handles(ast.Negative)
def negative(context: Context, node: ast.Negative) -> Applied:
    value = context.of_type(node.value, NumberType, "a number")
    if value.number is not None:
        return constant(-value.number, node.span)
    return _arithmetic("-", constant(0, node.span), value, node.span)


@handles(ast.BinarySum, ast.BinaryProduct)
def binary(context: Context, node: ast.BinarySum | ast.BinaryProduct) -> Applied:
    left, right = (
        constant(float(str(value)), side.span) if isinstance(value, HeadValue) else value
        for side, value in ((side, context.value(side)) for side in (node.left, node.right))
    )
    first, second = Located(left, node.left.span), Located(right, node.right.span)
    kinds = tuple(v.type if isinstance(v, Applied) else None for v in (left, right))
    match kinds:
        case (NumberType(), NumberType()):
            return _arithmetic(node.operator, left, right, node.span)
        case (SubspaceType(), MatrixType()) if node.operator == "*":
            return build(context, Image(), {"of": first, "matrix": second}, node.span)
        case (SubspaceType(), SubspaceType()) if node.operator in "+-":
            word = Combination(sign=1 if node.operator == "+" else -1)
            return build(context, word, {"left": first, "right": second}, node.span)
    raise wrong(
        "wrong-kind",
        f"`{node.operator}` can't join {describe(left)} and {describe(right)}",
        node.span,
        "an offset of a position is written without spaces: END-1"
        if isinstance(left, Place)
        else "numbers can be combined, directions added, and `u * W` carries u through a matrix",
    )


def _arithmetic(operator: str, left: Applied, right: Applied, span: Span) -> Applied:
    a, b = left.number, right.number
    if a is not None and b is not None:
        if operator == "/" and b == 0:
            raise wrong("division", "division by zero", span, "divide by something else")
        results = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}
        if not math.isfinite(results[operator]):
            raise wrong("number-range", "this number is too large", span)
        return constant(results[operator], span)
    word = Arithmetic.model_validate({"operator": operator})
    return Applied(word, (("left", left), ("right", right)), NumberType(), span)


@handles(ast.Comparison)
def comparison(context: Context, node: ast.Comparison) -> Applied:
    left = context.of_type(node.left, NumberType, "a number")
    right = context.of_type(node.right, NumberType, "a number")
    check_comparison(context, node, left, right)
    word = Compare.model_validate({"operator": node.operator})
    return Applied(word, (("left", left), ("right", right)), TruthType(), node.span)


@handles(ast.Conjunction)
def conjunction(context: Context, node: ast.Conjunction) -> Any:
    raise wrong("and-here", "`and` can only join the claims of an `expect`", node.span)
