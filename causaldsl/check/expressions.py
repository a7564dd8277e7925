"""Expressions: from syntax to typed values, one function for each kind of node."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from causaldsl.check.apply import apply, arguments, build, make, matrix
from causaldsl.check.areas import area
from causaldsl.check.chosen import top
from causaldsl.check.claims import check_comparison
from causaldsl.check.context import Context, Located, handles
from causaldsl.check.dictionaries import features_at
from causaldsl.check.kinds import Value, describe, no_part
from causaldsl.check.nodes import EDGES, all_edges_of
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet, together
from causaldsl.check.parts import without
from causaldsl.check.places import HeadValue, Place, PositionRef, SiteOwner, head_of
from causaldsl.check.sets import RANGE_WORDS, Members, at_positions, of_one, sites
from causaldsl.check.stages import (
    all_of,
    any_set,
    is_range_word,
    layers_of,
    set_in_braces,
    site_set,
)
from causaldsl.check.unknown import unknown
from causaldsl.check.values import Applied, constant, label_of
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.circuits import Area
from causaldsl.vocabulary.foreign import site_help, word_meant
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
    if text in RANGE_WORDS:
        return all_of(context, text, node.span)
    if text == EDGES:
        return all_edges_of(context, node)
    if text in SITE_WORDS and SITE_WORDS[text].index == "none":
        return _site(Site(text), context.shapes(node.span), node.span)
    if text in MATRIX_WORDS and MATRIX_WORDS[text].index == "none":
        return matrix(text, None, None, context.shapes(node.span), node.span)
    if text in SITE_WORDS or text in MATRIX_WORDS or text in _OWNERS:
        way = site_help(node.span.source.text[node.span.start :], f"write {text}[...]")
        raise wrong("no-index", f"`{text}` needs an index", node.span, way)
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


@handles(ast.ListOf)
def items(context: Context, node: ast.ListOf) -> tuple[Any, ...]:
    return tuple(context.value(item) for item in node.items)


@handles(ast.SetOf)
def in_braces(context: Context, node: ast.SetOf) -> Members:
    return set_in_braces(context, node)


@handles(ast.Difference)
def difference(context: Context, node: ast.Difference) -> Members:
    left, right = (any_set(context, side, "{7.3}") for side in (node.left, node.right))
    return without(left, right, node.span, known=not unknown(context, node))


@handles(ast.Range)
def whole_range(context: Context, node: ast.Range) -> Any:
    raise wrong("range-here", "a range can't stand here", node.span, "use it in `for x in 0..9`")


@handles(ast.Attribute)
def attribute(context: Context, node: ast.Attribute) -> Any:
    owner = context.value(node.owner)
    if isinstance(node.owner, ast.Name) and node.owner.text in context.loop:
        owner = head_of(owner) or owner
    if isinstance(owner, HeadValue):
        owner = of_one(owner, context.shapes(node.span))
    if not isinstance(owner, Value):
        raise no_part(owner, node)
    return owner.part(node)


@handles(ast.Index)
def index(context: Context, node: ast.Index) -> Any:
    if isinstance(node.owner, ast.Name) and node.owner.text not in context.loop:
        text = node.owner.text
        if is_range_word(node.owner):
            return all_of(context, text, node.span, layers_of(context, node))  # type: ignore[arg-type]
        if text in SITE_WORDS or text in _OWNERS:
            return _site_at(context, text, node)
        if text in MATRIX_WORDS:
            headed = MATRIX_WORDS[text].index in ("head", "kv_head")
            layer, head = context.coordinates(node.at, headed)
            return matrix(text, layer, head, context.shapes(node.span), node.span)
    owner = context.value(node.owner)
    if isinstance(owner, Place) and owner.site.dictionary is not None:
        return features_at(context, owner, node)
    if not isinstance(owner, Value) or not owner.has_cells:
        raise wrong("no-index", f"{describe(owner)} can't be indexed", node.at.span, _meant(node))
    parts = node.at.parts if isinstance(node.at, ast.Cell) else (node.at,)
    return owner.cell(node, ".".join(_cell_part(context, part) for part in parts))


def _meant(node: ast.Node) -> str | None:
    """What to write for something that looks like a site as it is spelled elsewhere."""
    return site_help(node.span.source.text[node.span.start :])


def _site_at(context: Context, word: str, node: ast.Index) -> Place | SiteOwner | Members:
    """A site at a layer, or a head that waits for `.q`, `.k`, `.v`, `.z` or `.out`; or sets."""
    if isinstance(node.at, ast.Cell):
        message = f"`{show(node)}` has several values in its brackets"
        raise wrong("cell-here", message, node.span, _meant(node))
    shapes = context.shapes(node.span)
    several = _in_brackets(context, word, node)
    if several is not None:
        return site_set(context, word, several, node)
    layer, head = context.coordinates(node.at, headed=word in _OWNERS)
    bound = head_of(context.loop.get(node.at.text)) if isinstance(node.at, ast.Name) else None
    if bound is not None and bound.word not in ("", word):
        message = f"`{show(node.at)}` runs over {bound.word}s, and this is a {word}"
        raise wrong("head-index", message, node.at.span, f"write {bound.word}[{show(node.at)}]")
    if head is not None:
        return SiteOwner(word, layer, head, shapes, node.span)
    if SITE_WORDS[word].index == "none":
        raise wrong("no-index", f"`{word}` has no index", node.span, f"write {word}")
    return _site(Site(word, layer), shapes, node.span)


def _in_brackets(context: Context, word: str, node: ast.Index) -> Members | None:
    """The set that brackets hold, if they hold one."""
    if isinstance(node.at, ast.Range) and word not in _OWNERS:
        return all_of(context, "layers", node.span, layers_of(context, node))
    named = isinstance(node.at, ast.Name) and (
        head_of(context.loop.get(node.at.text)) is not None
        or isinstance(context.scope.values.get(node.at.text), Members)
        or is_range_word(node.at)
    )
    if not named and not isinstance(node.at, ast.Index | ast.SetOf | ast.Difference):
        return None
    value = context.value(node.at)
    return value if isinstance(value, Members) else None


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


_ELSEWHERE = {
    "argmax": (
        "`argmax` names a cell, which is no number",
        "claim it: expect argmax(SWEEP.METRIC) is CELL",
    ),
}
"""What looks like a function and is none: why not, and what to write."""


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
        found = make(context, maker, node)
        return found if isinstance(found, Members) else replace(found, span=node.span)
    if words.functions.get(text) is Area:
        return area(context, node)
    if text == "top" and text not in words.functions:
        return top(context, node)
    if text in _ELSEWHERE and text not in words.functions:
        message, way = _ELSEWHERE[text]
        raise wrong(f"{text}-here", message, node.span, way)
    if text not in words.functions:
        context.scope.check_words()
        sites = [word for word, cls in words.makers.items() if not isinstance(cls.gives, DataType)]
        raise wrong(
            "unknown-function",
            f"there is no function `{text}`",
            node.function.span,
            _meant(node) or word_meant(text, [*words.functions, *sites], "functions"),
        )
    return apply(context, words.functions[text], *arguments(node), node.span)


@handles(ast.At)
def at(context: Context, node: ast.At) -> Place | Members:
    value = of_one(context.value(node.site), context.shapes(node.span))
    if not isinstance(value, Members):
        value = context.as_place(value, node.site, positioned=False)
    _check_no_position(node, value)
    positions = positions_of(context, node)
    if isinstance(value, Place):
        if isinstance(node.position, ast.Position) and len(positions) == 1:
            return replace(value, position=positions[0], span=node.position.span)
        value = sites([value], context.shapes(node.span))
    return at_positions(value, positions, node.span)


def _check_no_position(node: ast.At, value: Place | Members) -> None:
    """A site that has its position already can't be given another."""
    given = [value] if isinstance(value, Place) else value.members
    there = [
        m
        for m in given
        if (isinstance(m, Place) and m.position is not None)
        or (isinstance(m, Members) and m.positions)
    ]
    if there or (isinstance(value, Members) and value.positions):
        which = there[0] if there else value
        raise wrong(
            "two-positions",
            f"`{show(node.site)}` has a position already ({which})",
            node.position.span,
            "leave out this one",
        )


def positions_of(context: Context, node: ast.At) -> list[PositionRef]:
    """What stands behind `@`: a point, a stretch, or a set of them, perhaps by its name."""
    written = node.position
    items = written.items if isinstance(written, ast.PositionSet) else (written,)
    found = [position for item in items for position in _position(context, item)]
    if len(set(found)) < len(found):
        raise wrong(
            "listed-twice", "a position is listed twice", node.position.span, "list it once"
        )
    return found


def _position(context: Context, node: ast.Position) -> list[PositionRef]:
    named = context.scope.values.get(node.first)
    if isinstance(named, Members) and node.last is None and node.first not in context.loop:
        context.scope.used.add(node.first)
        if named.of != "positions":
            message = f"`{node.first}` is {named.kind}, not of positions"
            raise wrong("wrong-kind", message, node.span, "write a set such as {S2, END}")
        return [PositionRef(point) for point in named.members]
    written = (node.first, node.last)
    return [PositionRef(*(context.point(text) for text in written if text is not None))]


@handles(ast.Negative)
def negative(context: Context, node: ast.Negative) -> Applied:
    value = context.of_type(node.value, NumberType, "a number")
    if value.number is not None:
        return constant(-value.number, node.span)
    return _arithmetic("-", constant(0, node.span), value, node.span)


@handles(ast.BinarySum, ast.BinaryProduct)
def binary(context: Context, node: ast.BinarySum | ast.BinaryProduct) -> Applied | PairSet:
    left, right = (
        constant(float(str(value)), side.span) if isinstance(value, HeadValue) else value
        for side, value in ((side, context.value(side)) for side in (node.left, node.right))
    )
    if node.operator == "+" and all(isinstance(v, PairSet | PairFamily) for v in (left, right)):
        sides = (context.pair_set(side, asked="nothing") for side in (node.left, node.right))
        with located(node.span):
            return together(*sides)
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
