"""A tree and all syntax errors: reading goes on at the next statement.

A text that the parser can't read as a whole is cut where a line begins with the keyword of a
statement, and every segment is read by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Any, cast

from lark import Tree
from lark.exceptions import UnexpectedInput

from causaldsl.diagnostics import Diagnostic, ProgramError, Source, Span
from causaldsl.syntax import ast
from causaldsl.syntax.build import Builder
from causaldsl.syntax.grammar import defining_words, parser, statement_words
from causaldsl.syntax.mistakes import begins_line, meant_statement, place, syntax_error

MOST = 20
"""How many syntax errors of a text are reported; of more, only their number."""
_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|(#[^\n]*)')
_LINE_BEGINS = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)[ \t]+[A-Za-z_\"]", re.M)
_FIRST_WORDS = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\s+([A-Za-z_][A-Za-z0-9_]*))?")


def read(source: Source) -> tuple[ast.Program, tuple[Diagnostic, ...]]:
    """The tree of what can be read, and every syntax error, in source order.

    A statement that can't be read stands in the tree as :class:`ast.Broken`.

    >>> program, errors = read(Source("x", "let a = (1\\nlet b = 2"))
    >>> [type(statement).__name__ for statement in program.statements], len(errors)
    (['Broken', 'Let'], 1)
    """
    reader = _Reader(source)
    reader.read()
    whole = Span(source, 0, len(source.text))
    return ast.Program(whole, tuple(reader.statements), _comments(source)), reader.errors()


def cuts(text: str) -> list[int]:
    """Where a text can be cut so that each piece most often holds one statement.

    >>> cuts("# one\\nlet a = 1\\nlet b = 2")
    [6, 16]
    """
    return [m.start() for m in _begins().finditer(text)]


def _comments(source: Source) -> tuple[ast.Comment, ...]:
    found = [m for m in _COMMENT.finditer(source.text) if m[1]]
    texts = [(m.start(), m[1].rstrip()) for m in found]
    return tuple(ast.Comment(Span(source, at, at + len(text)), text) for at, text in texts)


class _Reader:
    """Reads one text: as a whole, or in segments."""

    def __init__(self, source: Source):
        self.source = source
        self.builder = Builder(source)
        self.statements: list[ast.Statement] = []
        self.found: list[Diagnostic] = []
        self.more: list[int] = []
        """Where errors stand that are only counted."""

    def read(self) -> None:
        text = self.source.text
        try:
            self.build(_trees(text), 0)
        except UnexpectedInput as error:
            for segment in pairwise([0, *cuts(text), len(text)]):
                self.segment(*segment)
            if not self.found:  # every segment is right by itself
                self.report(error, Span(self.source, 0, len(text)))

    def segment(self, start: int, end: int) -> None:
        """Read the text from ``start`` to ``end``. What stands behind an error is not read."""
        text = self.source.text
        try:
            self.build(_trees(text[start:end]), start)
        except UnexpectedInput as error:
            words = _LINE_BEGINS.finditer(text, start + 1, end)
            if misspelled := [m.start() for m in words if meant_statement(m[1])]:
                for piece in pairwise([start, *misspelled, end]):
                    self.segment(*piece)
                return
            stop = self.report(error, Span(self.source, start, end))
            for begin in self.last_begins(start, stop):
                with suppress(UnexpectedInput):
                    self.build(_trees(text[start:begin]), start)
                    start = begin
                    break
            self.broken(Span(self.source, start, end))

    def last_begins(self, start: int, stop: int) -> Iterator[int]:
        """Where the statement with an error at ``stop`` may begin, behind others that are right."""
        if start < stop and begins_line(Span(self.source, stop, stop)):
            yield stop
        begins = [m.start() for m in _may_begin().finditer(self.source.text, start + 1, stop)]
        yield from begins[-1:]

    def build(self, trees: list[Tree[Any]], offset: int) -> None:
        for tree in trees:
            try:
                self.statements.append(self.builder.statement(tree, offset))
            except ProgramError as error:
                self.found += error.diagnostics
                start, end = offset + tree.meta.start_pos, offset + tree.meta.end_pos
                self.broken(Span(self.source, start, end))

    def report(self, error: UnexpectedInput, text: Span) -> int:
        """Keep the syntax error of a text. Gives the place where it stands."""
        if len(self.found) < MOST:
            self.found += syntax_error(text, error).diagnostics
            return self.found[-1].span.start
        self.more.append(text.start + place(error)[0])
        return self.more[-1]

    def broken(self, span: Span) -> None:
        text = span.text.strip()
        start = span.start + span.text.find(text)
        span = Span(self.source, start, start + len(text))
        words = _FIRST_WORDS.match(span.text)
        keyword = meant_statement(words[1]) if words else None
        name = None
        if words and words[2] and keyword in defining_words():
            at = span.start + words.start(2)
            name = ast.Identifier(Span(self.source, at, at + len(words[2])), words[2])
        self.statements.append(ast.Broken(span, keyword or "", name))

    def errors(self) -> tuple[Diagnostic, ...]:
        """Errors in source order; a word that was refused as a name is refused once."""
        refused = self.builder.refused
        words = {diagnostic.span.text for diagnostic in refused}
        found = [d for d in self.found if d.span.text not in words] + refused
        found.sort(key=lambda diagnostic: diagnostic.span.start)
        places = [d.span.start for d in found[MOST:]] + self.more
        if not places:
            return tuple(found)
        text = f"syntax errors that are not shown: {len(places)}"
        last = Diagnostic(
            "syntax", text, Span(self.source, places[0], places[0] + 1), "mend the others first"
        )
        return (*found[:MOST], last)


def _trees(text: str) -> list[Tree[Any]]:
    """The parser's trees of the statements of a text."""
    (statements,) = parser().parse(text).children
    return cast(list[Tree[Any]], cast(Tree[Any], statements).children)


@cache
def _words() -> str:
    """A pattern of the keyword of a statement, where it is no option's name or the like."""
    return rf"\b(?:{'|'.join(statement_words().values())})\b(?!\s*[:=.,)\]}}])"


@cache
def _begins() -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*{_words()}", re.M)


@cache
def _may_begin() -> re.Pattern[str]:
    return re.compile(rf"^[A-Za-z_]|{_words()}", re.M)
