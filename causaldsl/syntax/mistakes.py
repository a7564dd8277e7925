"""What is said of a place where the parser could not go on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import cast

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from causaldsl.diagnostics import Label, ProgramError, Span, suggest, wrong
from causaldsl.syntax.grammar import fixed_texts, keywords, parser, statement_words, words
from causaldsl.syntax.hints import hint, statement_hint, unclosed

_TERMINALS = {
    "NAME": "a name",
    "DEFINES": "`NAME =`",
    "NUMBER": "a number",
    "INDEX": "a head's number",
    "STRING": 'a text in "quotes"',
    "WARNING": "the name of a warning, such as `unused-definition`",
    "COMPARISON": "a comparison",
    "PRODUCT_OPERATOR": "`*` or `/`",
    "ANSWER_OF": "a letter or slot",
    "SELECTOR": "`after`, `before`, `from`, `upto` or `other`",
    "PLACE": "a letter's occurrence such as `A.1`, or `last`",
    "POINT": "a position such as `END`",
    "$END": "the end of the file",
    "_OVER": "`over templates`",
    "_TOKENS": "`tokens 40`",
}
_OPERATORS = frozenset(
    {"`(`", "`*` or `/`", "`+`", "`-`", "`.`", "`..`", "`@`", "`[`", "`and`", "`except`", "`is`"}
    | {"a comparison"}
)
_VALUES = frozenset({"`(`", "`-`", "`[`", "`{`", "a name", "a number", 'a text in "quotes"'})
"""What goes on with a value, and what begins one: said in a word where they are many."""
_WORD = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|([A-Za-z_][A-Za-z0-9_]*)')


@cache
def _spellings() -> dict[str, str]:
    """What each terminal of the grammar is called in a message."""
    texts = {name: [text] for name, text in fixed_texts().items()} | words()
    spelled = {name: " or ".join(f"`{t}`" for t in several) for name, several in texts.items()}
    return spelled | _TERMINALS


def syntax_error(text: Span, error: UnexpectedInput) -> ProgramError:
    """What is wrong in a text, where the parser could not go on."""
    start, end = place(error)
    span = Span(text.source, text.start + start, text.start + end)
    expected = set(error.interactive_parser.accepts())
    if isinstance(error, UnexpectedCharacters) and span.text == '"':
        return wrong("syntax", "this text is never closed", span, 'end it with `"` on its line')
    misspelled = _misspelled(text, start, expected)
    if misspelled is not None:
        return misspelled
    if isinstance(error, UnexpectedToken):
        if error.token.type == "$END":
            ends = "this statement ends too early"
            if not text.source.followed and not text.source.text[span.end :].strip():
                ends = "the program ends in the middle of a statement"
            return _unfinished(text, span, ends, expected)
        if span.text in keywords() and "NAME" in expected:
            return keyword(span.text, span)
        if statement_words().keys() <= expected and begins_line(span) and span.text.isidentifier():
            return _unknown_statement(span)
    help = hint(text.text[:start], text.text[start:]) or _expected(expected)
    return wrong("syntax", f"`{span.text}` can't stand here", span, help)


def _unfinished(text: Span, span: Span, ends: str, expected: set[str]) -> ProgramError:
    """The error for a statement that goes on nowhere: a bracket that is never closed is shown."""
    opened = unclosed(text.source.text[text.start : span.end])
    if opened is None:
        return wrong("syntax", ends, span, _expected(expected))
    at = Span(text.source, text.start + opened, text.start + opened + 1)
    closing = dict(zip("([{", ")]}", strict=True))[at.text]
    what = hint(text.source.text[text.start : span.end], closing) if closing == "}" else None
    help = f"{what}; then `{closing}`" if what else f"close it with `{closing}`"
    return wrong("syntax", ends, span, help, [Label(at, f"this `{at.text}` is never closed")])


def keyword(word: str, span: Span) -> ProgramError:
    """The error for a keyword where a name should stand."""
    message = f"`{word}` is a keyword, so it can't be a name here"
    return wrong("keyword", message, span, f"choose another name, such as `my_{word}`")


def place(error: UnexpectedInput) -> tuple[int, int]:
    """The characters that could not be read; at the end of the text, the last that could."""
    if isinstance(error, UnexpectedCharacters):
        start = cast(int, error.pos_in_stream)
        return start, start + 1
    token = cast(UnexpectedToken, error).token
    start, end = cast(int, token.start_pos), cast(int, token.end_pos)
    return (end - 1, end) if token.type == "$END" else (start, end)


def _misspelled(text: Span, stop: int, expected: set[str]) -> ProgramError | None:
    """A word at the place, or just before it, that stands for a keyword: with that, all is right
    up to the place, and behind it.

    In `patch s along v reprot fldd }`, the parser stops at `}`: `reprot fldd` looks like a clause.
    """
    wanted = {word for terminal in expected for word in words().get(terminal, ())}
    before = [m for m in _WORD.finditer(text.text) if m[1] and m.start() <= stop]
    for found in reversed(before[-4:]):
        span = Span(text.source, text.start + found.start(), text.start + found.end())
        begins = begins_line(span)
        meant = (begins and meant_statement(found[1])) or _close(found[1], wanted)
        if not meant or meant == found[1] or not _goes_on(text.text, found, meant, stop):
            continue
        if begins and meant in statement_words().values():
            return _unknown_statement(span)
        message = f"`{found[1]}` can't stand here"
        return wrong("syntax", message, span, f"did you mean `{meant}`?")
    return None


def _goes_on(text: str, found: re.Match[str], word: str, stop: int) -> bool:
    """Whether the parser gets past ``stop`` with another word in the place of the one found."""
    try:
        parser().parse(text[: found.start()] + word + text[found.end() :])
    except UnexpectedInput as error:
        return place(error)[0] - len(word) + len(found[0]) > stop
    return True


def _close(word: str, words: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.8)), None)


@lru_cache(1000)
def meant_statement(word: str) -> str | None:
    """The keyword of a statement that a word is, or is a misspelling of."""
    return _close(word, statement_words().values())


def begins_line(span: Span) -> bool:
    """Whether nothing but white space stands before a span on its line."""
    text = span.source.text
    return not text[text.rfind("\n", 0, span.start) + 1 : span.start].strip()


def _unknown_statement(span: Span) -> ProgramError:
    message = f"no statement begins with `{span.text}`"
    known = statement_words().values()
    line = span.source.text[span.start :]
    help = None if meant_statement(span.text) else statement_hint(line)
    return wrong(
        "unknown-statement", message, span, help or suggest(span.text, known, "statements")
    )


def _expected(expected: set[str]) -> str:
    statements = statement_words().keys()
    anew = statements <= expected
    named = {_spellings().get(t, t) for t in (expected - statements if anew else expected)}
    group, what = (_VALUES, "a value") if "a number" in named else (_OPERATORS, "an operator")
    if len(named & group) > 2:
        named = named - group | {what}
    names = [*sorted(named), *["a new statement"] * anew]
    return f"expected {' or '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"
