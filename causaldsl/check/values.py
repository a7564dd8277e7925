"""What expressions of a checked program stand for, before any weight is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from causaldsl.check.pairs import PairSet, Prompt
from causaldsl.diagnostics import Mistake, Span, suggest
from causaldsl.model.sites import Site
from causaldsl.vocabulary.base import Type, Word


@dataclass(frozen=True)
class Point:
    """A named position with an offset, or (name None) a token index counted from 0."""

    name: str | None
    offset: int

    @classmethod
    def parse(cls, text: str) -> Point:
        if text.isdigit():
            return cls(None, int(text))
        match = re.fullmatch(r"(\w+?)([+-]\d+)?", text)
        assert match is not None
        return cls(match[1], int(match[2] or 0))

    def __str__(self) -> str:
        if self.name is None:
            return str(self.offset)
        return self.name + (f"{self.offset:+d}" if self.offset else "")

    def resolve(self, prompt: Prompt) -> int:
        """The token index in one prompt. Raises :class:`Mistake` if there is none."""
        named = prompt.named
        if self.name == "all":
            raise Mistake(
                "position-range",
                "`all` means every token, so it has no offset",
                "name a position, such as END-1",
            )
        if self.name is not None and self.name not in named:
            raise Mistake(
                "unknown-position",
                f"the prompts have no position `{self.name}`",
                suggest(self.name, named, "positions"),
            )
        index = self.offset + (named[self.name] if self.name is not None else 0)
        if not 0 <= index < prompt.length:
            raise Mistake(
                "position-range",
                f"position {self} is token {index}, outside a prompt of {prompt.length} tokens",
                f"the prompt is: {prompt.text}",
            )
        return index


@dataclass(frozen=True)
class PositionRef:
    """``@ first``, ``@ first..last`` or ``@ all``, resolved prompt by prompt."""

    first: Point
    last: Point | None = None

    def __str__(self) -> str:
        return str(self.first) + (f"..{self.last}" if self.last is not None else "")

    def resolve(self, prompt: Prompt) -> list[int]:
        """The token indices in one prompt, in order."""
        if self.last is None and self.first == Point("all", 0):
            return list(range(prompt.length))
        first = self.first.resolve(prompt)
        if self.last is None:
            return [first]
        last = self.last.resolve(prompt)
        if last < first:
            raise Mistake(
                "position-order",
                f"{self} runs backwards: tokens {first} to {last} of: {prompt.text}",
                "write the earlier position first",
            )
        return list(range(first, last + 1))


@dataclass(frozen=True)
class Place:
    """A site of the model at positions of a prompt; ``position`` None until `@` has been read."""

    site: Site
    position: PositionRef | None
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.site} @ {self.position}" if self.position else str(self.site)


@dataclass(frozen=True)
class Applied:
    """A word applied to operands: what becomes one operation of the graph."""

    word: Word
    operands: tuple[tuple[str, Operand], ...]
    type: Type
    span: Span = field(compare=False, repr=False)

    def operand(self, name: str) -> Operand | None:
        return dict(self.operands).get(name)

    def walk(self) -> Iterator[Applied]:
        yield self
        for _, value in self.operands:
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Applied):
                    yield from part.walk()


@dataclass(frozen=True)
class ClassName:
    """A class of prompts: a pattern such as ABB, or `base` or `source`."""

    text: str


Operand: TypeAlias = Applied | Place | PairSet | ClassName | str | tuple["Applied", ...]


@dataclass(frozen=True)
class Run:
    """One arm: a name, its interventions, and where it stands on the axes of a sweep."""

    name: str
    interventions: tuple[Applied, ...]
    label: str
    coordinates: tuple[str, ...]
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Axis:
    """One loop variable of a sweep: its values' names in a cell, and as a plot shows them."""

    name: str
    labels: tuple[str, ...]
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """A `measure` or, with axes, a `sweep`: runs on pairs, and the metrics to report."""

    name: str
    pairs: PairSet
    runs: tuple[Run, ...]
    metrics: tuple[str, ...]
    axes: tuple[Axis, ...]
    span: Span = field(compare=False, repr=False)
