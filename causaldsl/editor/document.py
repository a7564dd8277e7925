"""A program that is open: its text now, its names, and what the last check found."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from causaldsl.check.pair_families import PairFamily
from causaldsl.check.prompts import PromptFamily
from causaldsl.diagnostics import Span
from causaldsl.editor.checking import Checked, Checking
from causaldsl.editor.pieces import Pieces, cut
from causaldsl.model.shapes import ModelDims
from causaldsl.syntax import ast
from causaldsl.syntax.names import Mention, Symbol, mentions
from causaldsl.vocabulary.register import BUILT_IN, Vocabulary


@dataclass(frozen=True)
class Place:
    """Characters ``start`` up to ``end`` of a file."""

    path: Path
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """One version of a text, and all that is known of it: a check may be of an older version."""

    path: Path
    pieces: Pieces
    checked: Checked | None = None

    @property
    def names(self) -> Mapping[str, Any]:
        return self.checked.names if self.checked is not None else {}

    @property
    def places(self) -> Mapping[str, Span]:
        return self.checked.places if self.checked is not None else {}

    @property
    def words(self) -> Vocabulary:
        return self.checked.words if self.checked is not None else BUILT_IN

    @property
    def shapes(self) -> ModelDims | None:
        """Those of the program's model, if it is known."""
        return getattr(self.checked.model, "shapes", None) if self.checked is not None else None

    @cached_property
    def mentions(self) -> list[Mention]:
        """Every mention of a name in this file."""
        elsewhere = [n for n, s in self.places.items() if s.source.name != self.pieces.name]
        return mentions(self.pieces.statements(), elsewhere, self._positions, self._sources)

    @cached_property
    def _positions(self) -> dict[str, Span]:
        """The positions of all prompts, those of imported files too, and where they are defined."""
        families = [value for value in self.names.values() if isinstance(value, PromptFamily)]
        return {name: span for family in families for name, _, span in family.places}

    @cached_property
    def _sources(self) -> dict[str, Span]:
        """The named sources of all pairs that are made from templates, and where they are named."""
        families = [value for value in self.names.values() if isinstance(value, PairFamily)]
        return {name: span for family in families for name, span in family.named_at}

    @cached_property
    def _by_start(self) -> tuple[list[int], list[Mention]]:
        found = [(self.pieces.offset(m.span) or 0, m) for m in self.mentions]
        found.sort(key=lambda item: item[0])
        return [start for start, _ in found], [mention for _, mention in found]

    def mention(self, offset: int) -> Mention | None:
        """The name at an offset, or that ends there."""
        starts, found = self._by_start
        for number in range(bisect_right(starts, offset) - 1, -1, -1):
            mention = found[number]
            if starts[number] + mention.span.end - mention.span.start >= offset:
                return mention
            if starts[number] < offset - 1000:
                break
        return None

    def of(self, symbol: Symbol) -> list[Mention]:
        return [mention for mention in self.mentions if mention.symbol == symbol]

    def definition(self, symbol: Symbol) -> Place | None:
        """Where a name is defined, here or in a file that is imported."""
        for mention in self.of(symbol):
            if mention.defines:
                return self.place(mention.span)
        elsewhere: dict[str, Mapping[str, Span]] = {
            "definition": self.places, "position": self._positions, "source": self._sources,
        }  # fmt: skip
        span = elsewhere.get(symbol.kind, {}).get(symbol.text)
        return self.place(span) if span is not None else None

    def place(self, span: Span) -> Place | None:
        """Where a span is, in this file or another; None if it is of an older text."""
        start = self.pieces.offset(span)
        if start is not None:
            return Place(self.path, start, start + span.end - span.start)
        if span.source.name == self.pieces.name:
            return None
        return Place(Path(span.source.name).resolve(), span.start, span.end)

    def nodes(self, offset: int) -> list[ast.Node]:
        """The nodes around an offset, from the statement to the innermost."""
        piece, at = self.pieces.at(offset)
        return list(_around(piece.tree, at))[1:]


def _around(node: ast.Node, at: int) -> Iterator[ast.Node]:
    yield node
    inside = [child for child in node.children() if child.span.start <= at <= child.span.end]
    if inside:
        # Where one ends and another begins, the one that begins.
        yield from _around(inside[-1], at)


@dataclass
class Document:
    """A program that is open. ``text`` changes as it is typed; checks follow."""

    path: Path
    text: str
    version: int | None = None
    reading: Reading = field(init=False)
    checking: Checking = field(init=False)

    def __post_init__(self) -> None:
        self.checking = Checking(self.path)
        self.reading = Reading(self.path, cut(str(self.path), self.text))

    def change(self, text: str, version: int | None) -> None:
        self.text, self.version = text, version
        pieces = cut(str(self.path), text, self.reading.pieces)
        self.reading = Reading(self.path, pieces, self.reading.checked)

    def check(self, opened: Mapping[Path, str]) -> Reading:
        """The text as it is now, checked; it takes as long as what has changed."""
        reading = self.reading
        return Reading(reading.path, reading.pieces, self.checking.check(reading.pieces, opened))
