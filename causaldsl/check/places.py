"""Sites at positions, as a program writes them, and the token indices of a position in a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from causaldsl.check.kinds import Value
from causaldsl.check.pairs import Prompt
from causaldsl.diagnostics import Mistake, Span, located, suggest, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.sites import SITE_WORDS


@dataclass(frozen=True)
class Point(Value):
    """A named position with an offset, or (name None) a token index counted from 0."""

    kind = "a position"
    name: str | None
    offset: int

    @classmethod
    def parse(cls, text: str) -> Point:
        """A position as the grammar has it."""
        found = cls.parsed(text)
        assert found is not None
        return found

    @classmethod
    def parsed(cls, text: str) -> Point | None:
        """A position, if a text is one."""
        if text.isdigit():
            return cls(None, int(text))
        match = re.fullmatch(r"(\w+?)([+-]\d+)?", text)
        return None if match is None else cls(match[1], int(match[2] or 0))

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
            raise unknown_position(self.name, named)
        index = self.offset + (named[self.name] if self.name is not None else 0)
        if not 0 <= index < prompt.length:
            raise Mistake(
                "position-range",
                f"position {self} is token {index}, outside a prompt of {prompt.length} tokens",
                f"the prompt is: {prompt.text}",
            )
        return index


def unknown_position(name: str, known: Iterable[str]) -> Mistake:
    """What is said of a position that prompts do not have."""
    help = suggest(name, known, "positions")
    if not help.endswith("?"):
        help += "; `position NAME = SLOT` in prompts names another"
    return Mistake("unknown-position", f"the prompts have no position `{name}`", help)


@dataclass(frozen=True)
class PositionRef:
    """``@ first``, ``@ first..last`` or ``@ all``, resolved prompt by prompt."""

    first: Point
    last: Point | None = None

    @classmethod
    def parse(cls, text: str) -> PositionRef:
        """A position as it is printed."""
        first, _, last = text.partition("..")
        return cls(Point.parse(first), Point.parse(last) if last else None)

    def __str__(self) -> str:
        return str(self.first) + (f"..{self.last}" if self.last is not None else "")

    def meets(self, other: PositionRef, prompts: Iterable[Prompt]) -> bool:
        """Whether both have a token in common in any of these prompts."""
        return self == other or any(
            set(self.resolve(prompt)) & set(other.resolve(prompt)) for prompt in prompts
        )

    @property
    def whole(self) -> bool:
        """Whether it is every token."""
        return self.last is None and self.first.name == "all" and not self.first.offset

    @property
    def single(self) -> bool:
        """Whether it is one token in every prompt."""
        return self.last is None and not self.whole

    @property
    def names(self) -> list[str]:
        """The named positions that it refers to."""
        points = [point for point in (self.first, self.last) if point is not None]
        return [] if self.whole else [point.name for point in points if point.name is not None]

    def resolve(self, prompt: Prompt) -> list[int]:
        """The token indices in one prompt, in order."""
        if self.whole:
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

    def count(self, prompts: Iterable[Prompt]) -> int:
        """How many tokens it names over all of these prompts."""
        return sum(len(self.resolve(prompt)) for prompt in prompts)


@dataclass(frozen=True)
class HeadValue(Value):
    """A head as a loop variable's value; ``text`` as written, since `0.01` may also be a number.

    ``word`` is `head` or `kv_head` for one of `heads` or `kv_heads`, "" for one that is written.
    """

    kind = "a head"
    layer: int
    head: int
    text: str = ""
    word: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text or f"{self.layer}.{self.head}"


@dataclass(frozen=True)
class Place(Value):
    """A site of the model at positions of a prompt; ``position`` None until `@` has been read."""

    kind = "a site"
    site: Site
    position: PositionRef | None
    span: Span = field(compare=False, repr=False)

    @property
    def as_head(self) -> HeadValue | None:
        """The head whose z it is, where no position is named: as a circuit's node it is that."""
        layer, head = self.site.layer, self.site.head
        if self.site.kind != "head.z" or self.position or layer is None or head is None:
            return None
        return HeadValue(layer, head, word="head")

    def part(self, node: ast.Attribute) -> Any:
        raise wrong(
            "wrong-kind",
            f"`{show(node.owner)}` is a site; it has no part `{node.name.text}`",
            node.name.span,
        )

    def __str__(self) -> str:
        return f"{self.site} @ {self.position}" if self.position else str(self.site)


def head_of(value: Any) -> HeadValue | None:
    """The head that a loop variable stands for, by itself or by its z."""
    if isinstance(value, Place):
        return value.as_head
    return value if isinstance(value, HeadValue) else None


@dataclass(frozen=True)
class SiteOwner(Value):
    """`head[7.3]` or `kv_head[7.1]`, before one of its activations is named."""

    kind = "a head"
    word: str
    layer: int
    head: int
    shapes: ModelDims
    span: Span

    def part(self, node: ast.Attribute) -> Place:
        return self.activation(node.name.text, node.name.span)

    def activation(self, name: str, span: Span) -> Place:
        """One of its activations by name, such as z; ``span`` is where the name stands."""
        kind = f"{self.word}.{name}"
        if kind not in SITE_WORDS:
            parts = [w.partition(".")[2] for w in SITE_WORDS if w.startswith(self.word + ".")]
            raise wrong(
                "unknown-site",
                f"a {self.word} has no activation `{name}`",
                span,
                suggest(name, parts, "activations"),
            )
        site = Site(kind, self.layer, self.head)
        with located(self.span.to(span)):
            site.check(self.shapes)
        return Place(site, None, self.span.to(span))
