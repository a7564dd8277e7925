"""A place in a text where something is to be written, and what can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lark import Token

from causaldsl.editor import words
from causaldsl.editor.document import Reading
from causaldsl.syntax import grammar
from causaldsl.vocabulary.base import Change, Word

What = Literal[
    "keyword", "name", "function", "site", "option", "value", "metric", "file", "position"
]


@dataclass(frozen=True)
class Item:
    """One thing that can be written, with what it is; ``insert`` is what is put in, if other."""

    label: str
    what: What
    detail: str = ""
    doc: str = ""
    insert: str | None = None


_OPEN = {"(": ")", "[": "]", "{": "}"}


_CLOSE = {")", "]", "}"}


@dataclass
class Here:
    """The place: what stands before it in its statement, and what fits there."""

    reading: Reading
    tokens: list[Token]
    fits: frozenset[str]
    inside: str | None = None
    """The text of the string that one is in, up to the place."""

    def __post_init__(self) -> None:
        self.words, self.names = self.reading.words, self.reading.names
        self.shapes = self.reading.shapes
        self.open: list[int] = []
        for number, token in enumerate(self.tokens):
            if token in _OPEN:
                self.open.append(number)
            elif token in _CLOSE and self.open:
                self.open.pop()

    def back(self, count: int = 1) -> str:
        """The text of a token before the place."""
        return str(self.tokens[-count]) if len(self.tokens) >= count else ""

    @property
    def statement(self) -> str:
        """The keyword of the statement that one is in."""
        begins = grammar.statement_words()
        found = [str(t) for t in self.tokens if t.type in begins]
        return found[-1] if found else ""

    @property
    def call(self) -> type[Word] | None:
        """The word in whose brackets one is."""
        if not self.open or self.tokens[self.open[-1]] != "(" or self.open[-1] == 0:
            return None
        return words.classes(self.words).get(str(self.tokens[self.open[-1] - 1]))

    @property
    def verb(self) -> type[Word] | None:
        """The verb of the intervention that one is in."""
        for token in reversed(self.tokens):
            if str(token) in self.words.interventions:
                return self.words.interventions[str(token)]
            if token.type in ("EQUAL", "REPORT", "LBRACE", "ON") or str(token) in ("+", "then"):
                return None
        return None


def begins_intervention(here: Here) -> bool:
    last, kind = here.back(), here.statement
    if "NAME" not in here.fits or kind not in (
        "measure",
        "sweep",
        "path",
        "run",
        "trace",
        "histogram",
        "generate",
    ):
        return False
    return (
        last in ("+", "then", "with")
        or (last == "=" and kind != "histogram")
        or (last == ":" and kind == "sweep")
    )


def in_report(here: Here) -> bool:
    for token in reversed(here.tokens):
        if token == "report":
            return True
        if token != "," and token.type not in ("NAME", "name"):
            return False
    return False


def is_policy(here: Here) -> bool:
    """Whether one is in the braces behind the last stage of a path."""
    brace = here.open[-1]
    return (
        here.tokens[brace] == "{"
        and "->" in [str(t) for t in here.tokens[:brace]]
        and (here.fits <= {"NAME", "RBRACE"})
    )


def clause_words(verb: type[Word] | None) -> dict[str, None]:
    """The words that clauses behind a verb begin with, in order."""
    if verb is None:
        return {}
    keywords = [operand.name for operand in verb.operands if operand.keyword]
    origins = verb.origins if issubclass(verb, Change) else ()
    return dict.fromkeys([*keywords, *verb.options(), *origins])
