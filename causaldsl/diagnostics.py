"""Places in a source text, and what there is to say about them.

A diagnostic is data: a stable code, one primary span, labels on other places, and a way out.
Rendering is separate. A user's mistake is collected as a diagnostic; a bug raises.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Source:
    """One text that a user wrote, and the name under which messages speak of it."""

    name: str
    text: str
    followed: bool = False
    """Whether more text of the same file follows: then it is only a piece of it."""

    @cached_property
    def _line_starts(self) -> tuple[int, ...]:
        return (0, *(i + 1 for i, char in enumerate(self.text) if char == "\n"))

    def line_column(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line (counted from 1), without its line break."""
        start = self._line_starts[number - 1]
        stops = self._line_starts[number:]
        return self.text[start : (stops[0] - 1) if stops else len(self.text)].rstrip("\r")


@dataclass(frozen=True)
class Span:
    """Characters ``start`` up to ``end`` of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def place(self) -> str:
        """``file:line:column`` of the first character."""
        line, column = self.source.line_column(self.start)
        return f"{self.source.name}:{line}:{column}"

    def holds(self, other: Span) -> bool:
        """Whether another span begins within this one."""
        return self.source is other.source and self.start <= other.start < self.end

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of the other."""
        return Span(self.source, self.start, other.end)


@dataclass(frozen=True)
class Label:
    """A remark on a second place, such as where a name was first defined."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """What is wrong, where, and a way out. A warning is no error: the program can be run."""

    code: str
    message: str
    span: Span
    help: str | None = None
    labels: tuple[Label, ...] = field(default=())
    warning: bool = False


class Mistake(Exception):
    """A user's mistake found where no source text is at hand (a file, a model, a shape).

    Whoever knows the place in the program turns it into a diagnostic with :meth:`at`.
    """

    def __init__(self, code: str, message: str, help: str | None = None):
        super().__init__(message)
        self.code, self.message, self.help = code, message, help

    def at(self, span: Span) -> Diagnostic:
        return Diagnostic(self.code, self.message, span, self.help)


class ProgramError(Exception):
    """The program is wrong: one or more diagnostics, in source order."""

    def __init__(self, diagnostics: Sequence[Diagnostic]):
        self.diagnostics = tuple(
            sorted(diagnostics, key=lambda d: (d.span.source.name, d.span.start))
        )
        super().__init__("; ".join(f"{d.span.place} {d.message}" for d in self.diagnostics))


class RunFailure(Exception):
    """The program is right but the run cannot go on (a weight missing, a hook that never fired)."""

    def __init__(self, message: str, help: str | None = None):
        super().__init__(message)
        self.message, self.help = message, help


class Diagnostics:
    """Collects diagnostics, so that one check reports every independent mistake."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []
        self._known: set[Diagnostic] = set()
        self._more = False  # something failed because of a mistake that was reported elsewhere

    def add(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self._known:
            self._known.add(diagnostic)
            self.found.append(diagnostic)

    @contextmanager
    def collecting(self, span: Span | None = None) -> Iterator[None]:
        """Keep what the block raises as a user's mistake, and go on after the block."""
        try:
            yield
        except ProgramError as error:
            self._more = self._more or not error.diagnostics
            for diagnostic in error.diagnostics:
                self.add(diagnostic)
        except Mistake as mistake:
            if span is None:
                raise
            self.add(mistake.at(span))

    @property
    def incomplete(self) -> bool:
        """Whether something is wrong, be it said here or elsewhere."""
        return bool(self.found) or self._more

    def raise_if_any(self) -> None:
        if self.incomplete:
            raise ProgramError(self.found)


def wrong(
    code: str, message: str, span: Span, help: str | None = None, labels: Iterable[Label] = ()
) -> ProgramError:
    """The error for a single diagnostic."""
    return ProgramError([Diagnostic(code, message, span, help, tuple(labels))])


@contextmanager
def located(span: Span) -> Iterator[None]:
    """Give a :class:`Mistake` raised in the block its place in the program."""
    try:
        yield
    except Mistake as mistake:
        raise ProgramError([mistake.at(span)]) from mistake


_COMPARED, _LONG = 500, 100
"""With how many names an unknown one is compared, and how much of it."""


def suggest(name: str, available: Iterable[str], what: str = "names") -> str:
    """The nearest match for an unknown name, or else what is available."""
    known = sorted(set(available))
    # Comparing takes long, and nobody has a name in mind that is much longer than another.
    compared = [one for one in known if abs(len(one) - len(name)) <= len(name)][:_COMPARED]
    close = difflib.get_close_matches(name[:_LONG], compared, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    if not known:
        return f"there are no {what} here"
    shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"{what} here: {shown}"


def render(diagnostic: Diagnostic) -> str:
    """A diagnostic as plain text: message, place, the source line with a caret, the way out."""
    level = "warning" if diagnostic.warning else "error"
    # A name with a line break could look like another message.
    message = _cut(diagnostic.message).replace("\n", "\\n")
    lines = [f"{level}[{diagnostic.code}]: {message}"]
    lines += _excerpt(diagnostic.span, "-->", "")
    for label in diagnostic.labels:
        lines += _excerpt(label.span, ":::", label.text)
    if diagnostic.help:
        lines.append(f"  help: {_cut(diagnostic.help)}")
    return "\n".join(lines)


def as_data(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as plain data. Lines and columns count from 1; an end lies behind its place."""
    return {
        "code": diagnostic.code,
        "level": "warning" if diagnostic.warning else "error",
        "message": diagnostic.message,
        "help": diagnostic.help,
        **_range(diagnostic.span),
        "labels": [{"message": label.text, **_range(label.span)} for label in diagnostic.labels],
    }


def _range(span: Span) -> dict[str, object]:
    line, column = span.source.line_column(span.start)
    end_line, end_column = span.source.line_column(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    return "\n\n".join(render(d) for d in diagnostics)


_MOST, _WIDE = 4000, 160
"""Characters of a message, and of a line of the program, that are shown."""


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]} ..."


def _excerpt(span: Span, arrow: str, remark: str) -> list[str]:
    line, column = span.source.line_column(span.start)
    text = span.source.line(line)
    if len(text) > _WIDE:  # what stands around the place
        start = max(0, column - 1 - _WIDE // 2)
        text, column = text[start : start + _WIDE], column - start
    gutter = " " * len(str(line))
    width = max(1, min(span.end - span.start, len(text) - column + 1))
    # Tabs are kept before the caret, so that it stands under the right character.
    pad = "".join("\t" if char == "\t" else " " for char in text[: column - 1])
    return [
        f" {gutter}{arrow} {span.place}",
        f" {gutter} |",
        f" {line} | {text}",
        f" {gutter} | {pad}{'^' * width}{' ' + remark if remark else ''}",
    ]
