"""Names: what each stands for, and what to say of one that stands for nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from causaldsl.check.choices import Choice
from causaldsl.diagnostics import Label, ProgramError, Span, suggest, wrong
from causaldsl.vocabulary.foreign import site_help
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.register import BUILT_IN, Vocabulary
from causaldsl.vocabulary.sites import SITE_WORDS

BROKEN = object()
"""Stands for a name whose own statement is wrong, so that its uses add no second message."""

_SETS = {"heads", "kv_heads", "mlps", "layers", "edges", "positions", "all"}
_FIXED = {"head", "kv_head", "base", "source", "graph"}


def _built_in() -> Vocabulary:
    """The words that every program has, in tables of their own."""
    words = Vocabulary()
    words.add(BUILT_IN)
    return words


@dataclass
class Scope:
    """The names defined so far, and the words; ``later`` holds names defined further down."""

    values: dict[str, Any]
    words: Vocabulary = field(default_factory=_built_in)
    places: dict[str, Span] = field(default_factory=dict)
    later: dict[str, Span] = field(default_factory=dict)
    loops: dict[str, Span] = field(default_factory=dict)
    """Loop variables of the file's sweeps, by where they are bound."""
    touched: dict[Choice, None] = field(default_factory=dict)
    """What the statement that is being checked takes of cells that a run chooses."""
    choices: dict[str, dict[Choice, None]] = field(default_factory=dict)
    """The same of every statement before it, by the name that it defines."""
    used: set[str] = field(default_factory=set)
    """The names that something has asked for."""
    model: Span | None = None
    """The model's statement, be it right or wrong."""
    incomplete: bool = False
    """Set when an import can't be read: what it would define is then not reported as unknown."""
    words_missing: bool = False
    """Set when an import or a package can't be read: its words are then not reported as unknown."""

    @contextmanager
    def until_read(self) -> Iterator[None]:
        """While something that brings names is read, and ever after if it can't be."""
        before = self.incomplete, self.words_missing
        self.incomplete = self.words_missing = True
        yield
        self.incomplete, self.words_missing = before

    def check_words(self) -> None:
        """Before a word is said to be unknown: a package that can't be used may have brought it."""
        if self.words_missing:
            raise ProgramError([])

    def reserved(self) -> set[str]:
        """Words with a meaning of their own, which can't be given to something else.

        Metrics are no such words: they stand where no other name can.
        """
        sites = {word for word in SITE_WORDS if "." not in word}
        metrics = {word for word, metric in self.words.metrics.items() if not metric.option}
        return _SETS | _FIXED | sites | set(MATRIX_WORDS) | self.words.words() - metrics

    def define(self, name: str, span: Span, value: Any) -> None:
        self.check_free(name, span)
        self.values[name], self.places[name] = value, span

    def check_free(self, name: str, span: Span) -> None:
        """Refuse a name that is taken, by a statement or by the language."""
        if name in self.places:
            raise wrong(
                "name-twice",
                f"the name `{name}` is used twice",
                span,
                "choose another name",
                [Label(self.places[name], "first defined here")],
            )
        if name in self.reserved():
            raise wrong(
                "reserved-name",
                f"`{name}` is a word of the language",
                span,
                f"choose another name, such as `my_{name}`",
            )

    def give_up(self, name: str, span: Span) -> None:
        """A name whose statement is wrong exists, but its uses should say nothing more."""
        if name not in self.values:
            self.values[name], self.places[name] = BROKEN, span

    def look_up(self, name: str, span: Span) -> Any:
        self.used.add(name)
        self.touched |= self.choices.get(name, {})
        if name in self.values:
            if self.values[name] is BROKEN:
                raise ProgramError([])
            return self.values[name]
        if name in self.later:
            raise wrong(
                "used-before",
                f"`{name}` is used before it is defined",
                span,
                "move its statement above this one",
                [Label(self.later[name], "defined here")],
            )
        if self.incomplete:
            raise ProgramError([])
        if name in self.loops:
            raise wrong(
                "loop-variable",
                f"`{name}` is a loop variable, which has a value only inside its sweep",
                span,
                "write there what uses it",
                [Label(self.loops[name], "the loop")],
            )
        reserved = self.reserved()
        if name in reserved:
            raise wrong(
                "reserved-name",
                f"`{name}` is a word of the language, which has no value by itself here",
                span,
                "docs/language.md shows where it can stand",
            )
        near = difflib.get_close_matches(name, reserved, n=1, cutoff=0.75)
        known = suggest(name, [*self.values, *reserved] if near else self.values)
        raise wrong(
            "unknown-name",
            f"there is nothing called `{name}`",
            span,
            site_help(span.source.text[span.start :], known),
        )
