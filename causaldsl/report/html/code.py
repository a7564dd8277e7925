"""A program's text with line numbers, its words coloured as what they are."""

from __future__ import annotations

import re
from functools import cache

from causaldsl.report.html.markup import Html, join, tag
from causaldsl.syntax.grammar import words
from causaldsl.vocabulary.register import BUILT_IN
from causaldsl.vocabulary.sites import SITE_WORDS

_PIECE = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*")
    |(?P<number>\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)""",
    re.X,
)


def code_lines(text: str, first: int, prefix: str) -> Html:
    """Lines of a program; line n gets the id ``prefix-n``. ``first`` is the first line's number."""
    lines = []
    for number, line in enumerate(text.split("\n"), first):
        link = tag(
            "a",
            str(number),
            href=f"#{prefix}-{number}",
            class_="n",
            aria_label=f"line {number}",
        )
        content = tag("span", coloured(line) or " ", class_="t")
        lines.append(tag("span", link, content, id=f"{prefix}-{number}", class_="l"))
    return tag("code", join(*lines, by="\n"))


def coloured(text: str) -> Html:
    """Program text with a class on every comment, text, number, keyword and word of the language.

    >>> coloured("let x = 1")
    '<span class="k">let</span> x = <span class="d">1</span>'
    """
    pieces: list[str] = []
    end = 0
    for match in _PIECE.finditer(text):
        pieces.append(text[end : match.start()])
        pieces.append(_piece(match[0], match.lastgroup or ""))
        end = match.end()
    return join(pieces, text[end:])


def _piece(text: str, kind: str) -> str:
    if kind == "word":
        kind = "keyword" if text in _keywords() else "vocabulary" if text in _vocabulary() else ""
    name = {"comment": "c", "string": "s", "number": "d", "keyword": "k", "vocabulary": "v"}
    return tag("span", text, class_=name[kind]) if kind else text


@cache
def _keywords() -> frozenset[str]:
    """Every word that stands in the grammar itself, and those of the interventions' clauses."""
    verbs = BUILT_IN.interventions.values()
    clauses = {operand.name for verb in verbs for operand in verb.operands if operand.keyword}
    return frozenset(clauses.union(*words().values(), *(verb.options() for verb in verbs)))


@cache
def _vocabulary() -> frozenset[str]:
    sites = {part for word in SITE_WORDS for part in word.split(".")}
    known = {*BUILT_IN.functions, *BUILT_IN.interventions, *BUILT_IN.makers}
    return frozenset(known | {site for site in sites if len(site) > 1})
