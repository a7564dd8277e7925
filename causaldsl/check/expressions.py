"""Expressions: from syntax to typed values, one function for each kind of node."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from causaldsl.check.addresses import SiteOwner, random_mlp, site_at, site_word
from causaldsl.check.apply import Applier
from causaldsl.check.audits import is_verdict
from causaldsl.check.kinds import describe, way_out
from causaldsl.check.measured import (
    ArmRef,
    cell_name,
    cell_of,
    component_of,
    measurement_part,
    metric_of,
)
from causaldsl.check.pairs import PairFamily, PairSet, PromptSet
from causaldsl.check.scope import Scope
from causaldsl.check.values import (
    Applied,
    HeadValue,
    Measurement,
    Named,
    Place,
    Point,
    PositionRef,
    TracedKind,
)
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.model.shapes import Shapes
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import FUNCTIONS, MatrixType, NumberType, SubspaceType, TruthType
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.numbers import Arithmetic, Compare, Constant
from causaldsl.vocabulary.sites import SITE_WORDS
from causaldsl.vocabulary.subspaces import Combination, Image


@dataclass
class Expressions:
    """Evaluates expressions in a scope; ``loop`` holds the variables of the sweep at hand."""

    scope: Scope
    apply: Applier
    shapes: Callable[[Span], Shapes]
    loop: dict[str, Any] = field(default_factory=dict)

    def value(self, node: ast.Expression) -> Any:
        """What an expression stands for.

        Raises:
            ProgramError: if it stands for nothing, with the place.
        """
        return _HANDLERS[type(node)](self, node)

    def knows(self, name: str) -> bool:
        """Whether a name stands for something that the program or a loop defined."""
        return name in self.loop or name in self.scope.values

    def of_type(self, node: ast.Expression, kind: type, what: str) -> Any:
        """The value of an expression that must be an :class:`Applied` of this type."""
        value = self.value(node)
        if kind is NumberType and isinstance(value, HeadValue):
            value = constant(float(str(value)), node.span)  # {0.5, 1.5} swept as numbers
        if not isinstance(value, Applied) or not isinstance(value.type, kind):
            text = show(node)
            message = f"`{text}` is {describe(value)}, not {what}"
            raise wrong("wrong-kind", message, node.span, way_out(value, text))
        return value

    def place(self, node: ast.Expression, positioned: bool = True) -> Place:
        """The value of an expression that must be a site, with positions if asked for."""
        value = self.value(node)
        if isinstance(value, Site):
            value = Place(value, None, node.span)
        if isinstance(value, SiteOwner):
            raise wrong(
                "head-part",
                f"`{show(node)}` names a head, not one of its activations",
                node.span,
                "add .q, .k, .v, .z or .out",
            )
        if not isinstance(value, Place):
            raise wrong("wrong-kind", f"`{show(node)}` is {describe(value)}, not a site", node.span)
        if positioned and value.position is None:
            if not self.shapes(node.span).text:
                return replace(value, position=PositionRef(Point("END", 0)))
            raise wrong(
                "no-position",
                f"`{show(node)}` does not say at which position",
                node.span,
                "add one, such as `@ END`",
            )
        return value

    def pair_set(self, node: ast.Expression, answers: bool = True) -> PairSet:
        """The value of an expression that must be pairs, not a family with two parts.

        Without ``answers``, prompts that have none will do.
        """
        value = self.value(node)
        if isinstance(value, PairFamily):
            if value.whole is None:
                parts = [p.name for p in (value.train, value.test) if p is not None]
                raise wrong(
                    "which-part",
                    f"`{value.name}` has parts; say which to use",
                    node.span,
                    f"write {' or '.join(parts)}",
                )
            return value.whole
        if answers and isinstance(value, PromptSet):
            raise wrong(
                "no-answers",
                f"`{show(node)}` has no answers and no sources, which this needs",
                node.span,
                "use pairs; prompts from a corpus are for pca, ridge_r2 and logistic_accuracy",
            )
        if not isinstance(value, PairSet):
            raise wrong("wrong-kind", f"`{show(node)}` is {describe(value)}, not pairs", node.span)
        return value

    def coordinates(self, node: Any, headed: bool) -> tuple[int, int | None]:
        """A layer, or layer and head: `20`, `l`, `l+1`; `7.3`, `l.0`, `l.h`, a variable."""
        if not headed:
            return self.integer(node, "a layer"), None
        if isinstance(node, ast.Number) and "." in node.text and "e" not in node.text.lower():
            layer, _, head = node.text.partition(".")
            return int(layer), int(head)
        if isinstance(node, ast.Attribute):
            named = ast.Number if node.name.text.isdigit() else ast.Name
            part = named(node.name.span, node.name.text)
            return self.integer(node.owner, "a layer"), self.integer(part, "a head")
        value = self.value(node)
        if isinstance(value, HeadValue):
            return value.layer, value.head
        raise wrong(
            "head-index",
            f"`{show(node)}` does not say layer and head",
            node.span,
            "write them with a dot, such as head[7.3]",
        )

    def integer(self, node: ast.Expression, what: str) -> int:
        """The value of an expression that must be a whole number known before the run."""
        value = self.value(node)
        is_number = isinstance(value, Applied) and isinstance(value.type, NumberType)
        number = value.type.constant if is_number else None
        if number is None or number != int(number):
            message = f"`{show(node)}` is not a whole number known before the run"
            raise wrong("not-an-integer", message, node.span, f"{what} is wanted here")
        return int(number)

    def point(self, text: str) -> Point:
        """A position as written behind `@`, with the loop variables filled in."""
        point = Point.parse(text)
        bound = self.loop.get(point.name or "")
        if isinstance(bound, Point):
            return Point(bound.name, bound.offset + point.offset)
        if isinstance(bound, Applied) and isinstance(bound.type, NumberType):
            return Point(None, int(bound.type.constant or 0) + point.offset)
        return point


def _name(self: Expressions, node: ast.Name) -> Any:
    name = node.text
    if name in self.loop:
        return self.loop[name]
    word = SITE_WORDS.get(name)
    if word is not None and word.index == "none":
        return site_word(word, self.shapes(node.span), node.span)
    if name in SITE_WORDS or name in ("head", "kv_head"):
        raise wrong("no-index", f"`{name}` needs an index", node.span, f"write {name}[...]")
    if name in MATRIX_WORDS:
        if MATRIX_WORDS[name].index == "none":
            return self.apply.matrix(name, None, None, self.shapes(node.span), node.span)
        raise wrong("no-index", f"`{name}` needs an index", node.span, f"write {name}[...]")
    if name in FUNCTIONS:
        signature = FUNCTIONS[name].signature()
        raise wrong("no-call", f"`{name}` is a function", node.span, f"write {signature}")
    return self.scope.look_up(name, node.span)


def _number(self: Expressions, node: ast.Number) -> Applied:
    if not math.isfinite(node.value):
        raise wrong("number-range", f"{node.text} is too large a number", node.span)
    return constant(node.value, node.span)


def constant(value: float, span: Span) -> Applied:
    return Applied(Constant(value=value), (), NumberType(value), span)


def _string(self: Expressions, node: ast.String) -> str:
    return node.text


def _items(self: Expressions, node: ast.ListOf | ast.SetOf) -> tuple[Any, ...]:
    return tuple(self.value(item) for item in node.items)


def _range(self: Expressions, node: ast.Range) -> Any:
    raise wrong("range-here", "a range can't stand here", node.span, "use it in `for x in 0..9`")


def _attribute(self: Expressions, node: ast.Attribute) -> Any:
    owner, name = self.value(node.owner), node.name.text
    if isinstance(owner, SiteOwner):
        return owner.part(name, self.shapes(node.span), node.name.span)
    if isinstance(owner, PairFamily):
        return _pair_part(owner, node)
    if isinstance(owner, Measurement):
        return measurement_part(owner, node)
    if isinstance(owner, ArmRef):
        return metric_of(owner, node.name)
    if isinstance(owner, Named):
        return owner.part(node)
    if isinstance(owner, Place):
        raise wrong(
            "wrong-kind", f"`{show(node.owner)}` is a site; it has no part `{name}`", node.name.span
        )
    raise wrong("no-part", f"{describe(owner)} has no part `{name}`", node.name.span)


def _pair_part(family: PairFamily, node: ast.Attribute) -> PairSet:
    name = node.name.text
    part = {"train": family.train, "test": family.test}.get(name)
    if part is None:
        has = [p for p, value in (("train", family.train), ("test", family.test)) if value]
        message = f"pairs `{family.name}` have no part `{name}`"
        way = f"parts: {', '.join(has)}" if has else f"they have no split: write `{family.name}`"
        raise wrong("no-part", message, node.name.span, way)
    return part


def _index(self: Expressions, node: ast.Index) -> Any:
    if isinstance(node.owner, ast.Name) and node.owner.text not in self.loop:
        name = node.owner.text
        if name in SITE_WORDS or name in ("head", "kv_head"):
            layer, head = self.coordinates(node.at, headed=name in ("head", "kv_head"))
            return site_at(name, layer, head, self.shapes(node.span), node.span)
        if name in MATRIX_WORDS:
            headed = MATRIX_WORDS[name].index in ("head", "kv_head")
            layer, head = self.coordinates(node.at, headed)
            return self.apply.matrix(name, layer, head, self.shapes(node.span), node.span)
    owner = self.value(node.owner)
    if isinstance(owner, TracedKind):
        return component_of(owner, node, cell_name(self, node))
    if isinstance(owner, Measurement) and owner.axes:
        return cell_of(owner, node, cell_name(self, node))
    if isinstance(owner, Named):
        return owner.cell(node, cell_name(self, node))
    raise wrong("no-index", f"{describe(owner)} can't be indexed", node.at.span)


def _several(self: Expressions, node: ast.Cell) -> Any:
    raise wrong(
        "cell-here", "several values in brackets name a cell of a sweep or table", node.span
    )


def _call(self: Expressions, node: ast.Call) -> Any:
    if not isinstance(node.function, ast.Name):
        raise wrong("no-call", "only a function's name can stand before `(`", node.function.span)
    name = node.function.text
    if name == "hook":
        arguments = [None if isinstance(a, ast.Option) else self.value(a) for a in node.arguments]
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise wrong(
                "bad-call", "hook takes one name", node.span, 'write hook("blocks.3.mlp.hook_post")'
            )
        return Place(Site("hook", hook=arguments[0]), None, node.span)
    if name == "random_mlp":
        return random_mlp(self, node)
    if name not in FUNCTIONS:
        raise wrong(
            "unknown-function",
            f"there is no function `{name}`",
            node.function.span,
            suggest(name, FUNCTIONS, "functions"),
        )
    return self.apply.call(self, FUNCTIONS[name], node)


def check_unpositioned(place: Place, node: ast.At) -> None:
    """A site that has its position already can't be given another one."""
    if place.position is not None:
        raise wrong(
            "two-positions",
            f"`{show(node.site)}` has a position already ({place})",
            node.position.span,
            "leave out this one",
        )


def _at(self: Expressions, node: ast.At) -> Place:
    place = self.place(node.site, positioned=False)
    check_unpositioned(place, node)
    points = [self.point(node.position.first)]
    if node.position.last is not None:
        points.append(self.point(node.position.last))
    return Place(place.site, PositionRef(*points), node.position.span)


def _negative(self: Expressions, node: ast.Negative) -> Applied:
    value = self.of_type(node.value, NumberType, "a number")
    if value.type.constant is not None:
        return constant(-value.type.constant, node.span)
    return _arithmetic("-", constant(0, node.span), value, node.span)


def _binary(self: Expressions, node: ast.BinarySum | ast.BinaryProduct) -> Applied:
    left, right = (
        constant(float(str(value)), side.span) if isinstance(value, HeadValue) else value
        for side, value in ((side, self.value(side)) for side in (node.left, node.right))
    )
    kinds = tuple(v.type if isinstance(v, Applied) else None for v in (left, right))
    match kinds:
        case (NumberType(), NumberType()):
            return _arithmetic(node.operator, left, right, node.span)
        case (SubspaceType(), MatrixType()) if node.operator == "*":
            operands = {"of": (left, node.left.span), "matrix": (right, node.right.span)}
            return self.apply.build(Image(), operands, node.span)
        case (SubspaceType(), SubspaceType()) if node.operator in "+-":
            operands = {"left": (left, node.left.span), "right": (right, node.right.span)}
            word = Combination(sign=1 if node.operator == "+" else -1)
            return self.apply.build(word, operands, node.span)
    raise wrong(
        "wrong-kind",
        f"`{node.operator}` can't join {describe(left)} and {describe(right)}",
        node.span,
        "an offset of a position is written without spaces: END-1"
        if isinstance(left, Place)
        else "numbers can be combined, directions added, and `u * W` carries u through a matrix",
    )


def _arithmetic(operator: str, left: Applied, right: Applied, span: Span) -> Applied:
    a, b = left.type.constant, right.type.constant  # type: ignore[union-attr]
    if a is not None and b is not None:
        if operator == "/" and b == 0:
            raise wrong("division", "division by zero", span, "divide by something else")
        results = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}
        if not math.isfinite(results[operator]):
            raise wrong("number-range", "this number is too large", span)
        return constant(results[operator], span)
    word = Arithmetic.model_validate({"operator": operator})
    return Applied(word, (("left", left), ("right", right)), NumberType(), span)


def _comparison(self: Expressions, node: ast.Comparison) -> Applied:
    left = self.of_type(node.left, NumberType, "a number")
    right = self.of_type(node.right, NumberType, "a number")
    word = Compare.model_validate({"operator": node.operator})
    return Applied(word, (("left", left), ("right", right)), TruthType(), node.span)


def _conjunction(self: Expressions, node: ast.Conjunction) -> Any:
    raise wrong("and-here", "`and` can only join the claims of an `expect`", node.span)


_HANDLERS: dict[type, Callable[[Expressions, Any], Any]] = {
    ast.Name: _name,
    ast.Number: _number,
    ast.String: _string,
    ast.ListOf: _items,
    ast.SetOf: _items,
    ast.Range: _range,
    ast.Attribute: _attribute,
    ast.Index: _index,
    ast.Cell: _several,
    ast.Call: _call,
    ast.At: _at,
    ast.Negative: _negative,
    ast.BinarySum: _binary,
    ast.BinaryProduct: _binary,
    ast.Comparison: _comparison,
    ast.IsVerdict: is_verdict,
    ast.Conjunction: _conjunction,
}
