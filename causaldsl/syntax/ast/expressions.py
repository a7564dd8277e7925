"""Expressions: whatever has a value, or a place, or is claimed."""

from __future__ import annotations

from causaldsl.syntax.ast.nodes import Identifier, Node


class Expression(Node):
    """Anything that has a value."""


class Name(Expression):
    """A name being used."""

    text: str


class Number(Expression):
    """``text`` as written: the digits after the dot of ``head[7.10]`` are a head."""

    text: str

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def is_integer(self) -> bool:
        return self.text.isdigit()


class String(Expression):
    text: str


class ListOf(Expression):
    items: tuple[Expression, ...]


class SetOf(Expression):
    items: tuple[Expression, ...]


class Range(Expression):
    """``first..last``, both included."""

    first: Expression
    last: Expression


class Attribute(Expression):
    """``owner.name``; in ``head[l.0]`` the name is a number."""

    owner: Expression
    name: Identifier


class Index(Expression):
    owner: Expression
    at: Expression


class Cell(Expression):
    """The values of several loop variables: ``20, END``."""

    parts: tuple[Expression, ...]


class Option(Node):
    name: Identifier
    value: Expression


class Call(Expression):
    function: Expression
    arguments: tuple[Expression | Option, ...]


class Position(Node):
    """``@ first`` or ``@ first..last``; a point is a name with an offset, or a token index."""

    first: str
    last: str | None


class PositionSet(Node):
    """``@ {S2, END}``: all of them."""

    items: tuple[Position, ...]


class At(Expression):
    site: Expression
    position: Position | PositionSet


class Negative(Expression):
    value: Expression


class BinarySum(Expression):
    left: Expression
    operator: str
    right: Expression


class BinaryProduct(Expression):
    left: Expression
    operator: str
    right: Expression


class Difference(Expression):
    """``heads except movers``: a set without the members of another one."""

    left: Expression
    right: Expression


class Comparison(Expression):
    left: Expression
    operator: str
    right: Expression


class IsVerdict(Expression):
    """``NAME is illusory``: a claim on an audit; ``argmax(sweep.metric) is 20.0``."""

    owner: Expression
    verdict: Expression


class Conjunction(Expression):
    parts: tuple[Expression, ...]
