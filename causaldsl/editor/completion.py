"""What can be written at a place: the parser says what fits, the last check which names exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lark import Token
from lark.exceptions import UnexpectedInput

from causaldsl.editor import offers
from causaldsl.editor.document import Reading
from causaldsl.editor.here import (
    Here,
    Item,
    begins_intervention,
    clause_words,
    in_report,
    is_policy,
)
from causaldsl.syntax import grammar


@dataclass(frozen=True)
class Offer:
    """What can be written, in place of the last ``typed`` characters."""

    items: tuple[Item, ...]
    typed: int


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def complete(reading: Reading, offset: int) -> Offer:
    """What can be written at an offset of the text."""
    piece, at = reading.pieces.at(offset)
    text = piece.text[:at]
    comments = (text[c.span.start :] for c in piece.tree.comments if c.span.start < at)
    if any("\n" not in comment for comment in comments):
        return Offer((), 0)
    start = len(text)
    while start > 0 and text[start - 1] in _LETTERS:
        start -= 1
    here = _here(reading, text[:start])
    if here.inside is not None:
        typed = len(here.inside) + at - start
        return Offer(tuple(offers.in_text(here, text[at - typed : at])), typed)
    items = {item.label: item for item in _items(here)}
    return Offer(tuple(items.values()), at - start)


def _here(reading: Reading, text: str) -> Here:
    steps = grammar.parser().parse_interactive(text)
    tokens: list[Token] = []
    try:
        for token in steps.iter_parse():
            tokens.append(token)
    except UnexpectedInput as error:
        stop = error.pos_in_stream or 0
        if text[stop : stop + 1] == '"':
            return Here(reading, tokens, frozenset(), text[stop + 1 :])
        return Here(reading, _lexed(text), frozenset({"NAME"}))
    return Here(reading, tokens, frozenset(steps.accepts()))


def _lexed(text: str) -> list[Token]:
    """The tokens of a text that is wrong somewhere before its end."""
    try:
        return list(grammar.parser().lex(text, dont_ignore=False))
    except UnexpectedInput:
        return []


def _items(here: Here) -> Iterator[Item]:
    for fits, make in _PLACES:
        if fits(here):
            yield from make(here)
            return
    yield from offers.anything(here)


_PLACES: tuple[tuple[Callable[[Here], Any], Callable[[Here], Iterable[Item]]], ...] = (
    (lambda h: h.back() == "." and h.fits & {"NAME", "INDEX"}, offers.behind_dot),
    (lambda h: "POINT" in h.fits, offers.positions),
    (lambda h: "WARNING" in h.fits, offers.warnings),
    (lambda h: h.back() in ("plot", "render") and h.statement == h.back(), offers.drawn),
    (lambda h: h.statement == "plot" and h.back() in ("by", "lines"), offers.along),
    (lambda h: h.statement == "model" and h.open, offers.model_options),
    (lambda h: h.open and is_policy(h), offers.policy),
    (lambda h: h.call is not None and h.back() in ("(", ","), offers.options),
    (lambda h: h.call is not None and h.back() == ":", offers.option_value),
    (lambda h: h.statement == "generate" and in_report(h), offers.text_metrics),
    (lambda h: in_report(h) and h.fits == {"NAME"}, offers.metrics),
    (lambda h: h.statement == "attribution" and h.back() == "to", offers.attributed),
    (lambda h: h.back() == "on" and "NAME" in h.fits, offers.pairs),
    (
        lambda h: h.back() == "=" and h.statement in ("lexicon", "prompts", "pairs", "dictionary"),
        offers.data,
    ),
    (begins_intervention, offers.interventions),
    (lambda h: h.back() in h.words.interventions and h.verb is not None, offers.sites),
    (lambda h: h.back() in clause_words(h.verb) and "DOT" not in h.fits, offers.clause_value),
    (lambda h: h.verb is not None and h.fits & {"TO", "_AT"}, offers.clauses),
)
