"""A text in pieces, a statement each, which keep what was found in them while others change.

A piece is a source by itself: places in it stay right wherever it moves. What is read in it is read
once, as long as its text stays the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from causaldsl.check.limits import USUAL
from causaldsl.diagnostics import Diagnostic, Source, Span
from causaldsl.syntax import ast
from causaldsl.syntax.recover import cuts, read

_MOST = USUAL["characters"]
_JOINED = 3
"""How many pieces are tried together: a keyword at the start of a line may begin no statement."""


class Piece(Source):
    """A piece of a file: equal to no other piece, though its text may be."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @cached_property
    def _read(self) -> tuple[ast.Program, tuple[Diagnostic, ...]]:
        if len(self.text) <= _MOST:
            return read(self)
        start = Span(self, 0, 1)
        message = f"{self.name} has {len(self.text)} characters"
        help = f"at most {_MOST} are read in an editor"
        return ast.Program(start, ()), (Diagnostic("too-large", message, start, help),)

    @property
    def tree(self) -> ast.Program:
        return self._read[0]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Its syntax errors."""
        return self._read[1]


@dataclass(frozen=True)
class Pieces:
    """A file's text, and where each of its pieces begins, in order."""

    name: str
    text: str
    starts: dict[Piece, int]

    def offset(self, span: Span) -> int | None:
        """Where a span of this file begins; None for one of elsewhere."""
        at = span.start
        if isinstance(span.source, Piece):
            start = self.starts.get(span.source)
            return None if start is None else start + at
        return at if span.source.name == self.name and span.source.text == self.text else None

    def statements(self) -> Iterable[ast.Statement]:
        for piece in self.starts:
            yield from piece.tree.statements

    def at(self, offset: int) -> tuple[Piece, int]:
        """The piece at an offset of the text, and the offset in it."""
        found = max((p for p in self.starts.items() if p[1] <= offset), key=lambda item: item[1])
        return found[0], offset - found[1]


def stamp(path: Path) -> tuple[int, int]:
    """Changes when a file does. Raises OSError where there is none."""
    about = path.stat()
    return about.st_mtime_ns, about.st_size


def cut(name: str, text: str, before: Pieces | None = None) -> Pieces:
    """A text in pieces, which are those of ``before`` wherever the text is the same."""
    known: dict[tuple[str, bool], list[Piece]] = defaultdict(list)
    for piece in before.starts if before else ():
        known[piece.text, piece.followed].append(piece)
    stops = cuts(text) if len(text) <= _MOST else []
    places = list(pairwise(dict.fromkeys([0, *stops, len(text)]))) or [(0, 0)]
    starts: dict[Piece, int] = {}

    def taken(start: int, end: int) -> Piece:
        key = text[start:end], end < len(text)
        return known[key].pop(0) if known[key] else Piece(name, *key)

    while places:
        start, end = places.pop(0)
        piece = taken(start, end)
        if places and any(not piece.text[e.span.end :].strip() for e in piece.errors):
            for count in range(1, min(_JOINED, len(places) + 1)):
                joined = taken(start, places[count - 1][1])
                if not joined.errors:
                    piece = joined
                    del places[:count]
                    break
        starts[piece] = start
    return Pieces(name, text, starts)
