"""What a name or an expression can stand for: a value has a kind, and may have parts and cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from causaldsl.diagnostics import Span, wrong
from causaldsl.model.catalog import ModelSpec
from causaldsl.syntax import ast


class Value:
    """A value of the language, but for texts, lists and the model.

    A subclass says what messages call it (``kind``), and how a number is got from it, if one is not
    by itself (``way_out``, with ``{}`` in place of its text).
    """

    way_out: ClassVar[str | None] = None
    compiled: ClassVar[bool] = False
    """Whether a statement that defines it is compiled, under its name (``graph/statements/``)."""

    @property
    def kind(self) -> str:
        raise NotImplementedError

    def part(self, node: ast.Attribute) -> Any:
        """What stands behind the dot."""
        raise no_part(self, node)

    @property
    def has_cells(self) -> bool:
        """Whether brackets can stand behind it."""
        return False

    def cell(self, node: ast.Index, wanted: str) -> Any:
        """What stands in brackets, for the name of a cell."""
        raise NotImplementedError

    @property
    def can_plot(self) -> bool:
        """Whether `plot` draws it."""
        return False

    @property
    def can_render(self) -> bool:
        """Whether `render` draws it."""
        return False

    @property
    def loop_variables(self) -> Mapping[str, int]:
        """What a plot of it can have along x, with how many values each has."""
        return {}

    def check_divisor(self, span: Span, metric: str | None = None) -> None:
        """Raise if a plot of it can't be relative to a number, or to one of this metric."""


_OTHERS: dict[type, str] = {ModelSpec: "a model", tuple: "a list"}


def describe(value: Any) -> str:
    """A value's kind, for messages."""
    if isinstance(value, Value):
        return value.kind
    return "a text" if isinstance(value, str) else _OTHERS.get(type(value), "something else")


def no_part(value: Any, node: ast.Attribute) -> Exception:
    """The error for a name behind the dot that means nothing there."""
    message = f"{describe(value)} has no part `{node.name.text}`"
    return wrong("no-part", message, node.name.span)


def way_out(value: Any, text: str) -> str | None:
    """How to get a number from a value that is none by itself, if there is a way."""
    way = value.way_out if isinstance(value, Value) else None
    return way.replace("{}", text) if way else None
