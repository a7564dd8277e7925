"""The parser that the grammar makes, and the words that stand in the grammar."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import Any

from lark import Lark, Token
from lark.grammar import Rule
from lark.lark import PostLex
from lark.lexer import TerminalDef

from causaldsl.shipped import shipped
from causaldsl.user_cache import cache_folder, write_atomically


class _WholeWords(PostLex):
    """Reads a word as a whole, so that where only `let` could stand, `letter` isn't one."""

    always_accept = ("NAME",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


@cache
def parser() -> Lark:
    """The parser. It holds nothing of the texts that it reads, so threads can share it."""
    # Building the tables takes a third of a second, so a wheel has them, and a checkout keeps them.
    grammar, name = grammar_and_name()
    kept = cache_folder() / name
    for path in (shipped("grammar") / name, kept):
        with suppress(Exception):  # not there, or damaged in whatever way
            return _from_tables(json.loads(path.read_bytes(), object_pairs_hook=_with_numbers))
    made = built(grammar)
    with suppress(OSError):  # nowhere to keep them
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, tables_of(made))
    return made


_FORMAT = 1


def grammar_and_name() -> tuple[str, str]:
    """The grammar's text, and what the file of its tables is called: by all that they hang on."""
    grammar = (shipped("grammar") / "causaldsl.lark").read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{_FORMAT} {version('lark')}\n{grammar}".encode()).hexdigest()[:16]
    return grammar, f"grammar-{digest}.json"


def built(grammar: str) -> Lark:
    """The parser, without tables that were kept."""
    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        postlex=_WholeWords(),
        maybe_placeholders=True,
        propagate_positions=True,
    )


def tables_of(made: Lark) -> str:
    """A parser as plain data: no code is in it, and reading it runs none."""
    data, memo = made.memo_serialize([TerminalDef, Rule])
    plain = {**data, "options": {**data["options"], "postlex": None}}
    return json.dumps({"data": plain, "memo": memo})


def _from_tables(tables: Any) -> Lark:
    loaded: Lark = Lark.__new__(Lark)._load(tables, postlex=_WholeWords())
    return loaded


def _with_numbers(items: list[tuple[str, Any]]) -> dict[Any, Any]:
    """The keys of tables are names or numbers, and JSON makes texts of both."""
    return {int(key) if key.isdigit() else key: value for key, value in items}


@cache
def fixed_texts() -> dict[str, str]:
    """What stands in quotes in the grammar, by the parser's name for it."""
    return {t.name: t.pattern.value for t in parser().terminals if t.pattern.type == "str"}


@cache
def words() -> dict[str, list[str]]:
    """Every word that stands in the grammar, by the parser's name for it or for several."""
    patterns = {t.name: t.pattern.value for t in parser().terminals}
    found = {
        name: re.fullmatch(r"([a-z]+)(?:\(\?=.*)?|\(?([a-z_|]+)\)?\\b", patterns[name])
        for name in patterns
    }
    return {name: (match[1] or match[2]).split("|") for name, match in found.items() if match}


@cache
def keywords() -> frozenset[str]:
    """The words that nothing can be called: those in quotes."""
    return frozenset(text for text in fixed_texts().values() if text.isidentifier())


@cache
def statement_words() -> dict[str, str]:
    """The keywords that a statement begins with, by the parser's name for each."""
    begins = parser().parse_interactive("").accepts()
    return {name: word for name, word in fixed_texts().items() if name in begins}


@cache
def defining_words() -> frozenset[str]:
    """The keywords of the statements that give something a name."""
    starts = [[symbol.name for symbol in rule.expansion[:2]] for rule in parser().rules]
    words = statement_words()
    return frozenset(
        words[first[0]] for first in starts if first[1:] == ["defined"] and first[0] in words
    )
