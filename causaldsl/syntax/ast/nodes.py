"""What every node of the tree is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import dataclass_transform

from causaldsl.diagnostics import Span


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True)
class Node:
    """Anything that stands somewhere in a program. Every subclass is a frozen dataclass."""

    span: Span = field(compare=False, repr=False)

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    def children(self) -> Iterator[Node]:
        for item in fields(self):
            value = getattr(self, item.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Node):
                    yield part

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in source order."""
        yield self
        for child in self.children():
            yield from child.walk()


class Identifier(Node):
    """A name being given to something, or a word with a fixed meaning in its place."""

    text: str


@dataclass(frozen=True)
class Comment:
    """A comment's text with its ``#``, and where it stands."""

    span: Span
    text: str
