"""What each piece of a program's text is, for all that colour it: pages, notebooks, editors.

Comments, texts, numbers and names are as the grammar has them. A word is coloured by what it most
often is: `train` is a keyword in templates, and may be a name elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Literal

from causaldsl.discovery import import_all
from causaldsl.syntax import grammar
from causaldsl.vocabulary.register import BUILT_IN
from causaldsl.vocabulary.sites import SITE_WORDS

Colour = Literal["comment", "text", "number", "keyword", "word", "name", "sign", "space"]
TERMINALS: dict[str, Colour] = {
    "COMMENT": "comment",
    "STRING": "text",
    "NUMBER": "number",
    "NAME": "name",
}
"""The grammar's terminals that are coloured as they are; names by what they name."""


def pieces(text: str) -> Iterator[tuple[Colour, str]]:
    """A text in pieces, each with what it is; together they are the text.

    >>> list(pieces("let x"))
    [('keyword', 'let'), ('space', ' '), ('name', 'x')]
    """
    for match in _piece().finditer(text):
        colour = TERMINALS.get(match.lastgroup or "")
        if colour == "name":
            colour = _of_word(match[0])
        yield colour or ("sign" if match[0].strip() else "space"), match[0]


def patterns() -> dict[str, str]:
    """The patterns of the coloured terminals, as the grammar has them."""
    known = {terminal.name: terminal.pattern.to_regexp() for terminal in grammar.parser().terminals}
    return {name: known[name] for name in TERMINALS}


@cache
def _piece() -> re.Pattern[str]:
    named = (f"(?P<{name}>{pattern})" for name, pattern in patterns().items())
    return re.compile(rf"{'|'.join(named)}|\s+|.")


def _of_word(word: str) -> Colour:
    return "keyword" if word in keywords() else "word" if word in vocabulary() else "name"


@cache
def keywords() -> frozenset[str]:
    """Every word that stands in the grammar itself, and those of the interventions' clauses."""
    import_all("causaldsl.vocabulary")
    verbs = BUILT_IN.interventions.values()
    clauses = {operand.name for verb in verbs for operand in verb.operands if operand.keyword}
    known = grammar.words().values()
    ahead = {"tokens"}  # told by what stands behind it, so that the grammar has no plain word
    return frozenset(clauses.union(ahead, *known, *(verb.options() for verb in verbs)))


@cache
def vocabulary() -> frozenset[str]:
    """The words that are applied to something, and those of sites."""
    import_all("causaldsl.vocabulary")
    sites = {part for word in SITE_WORDS for part in word.split(".")}
    known = {*BUILT_IN.functions, *BUILT_IN.interventions, *BUILT_IN.makers}
    return frozenset(known | {site for site in sites if len(site) > 1})
