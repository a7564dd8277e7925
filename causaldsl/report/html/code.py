"""A program's text with line numbers, its words coloured as what they are."""

from __future__ import annotations

from causaldsl.report.html.markup import Html, join, tag
from causaldsl.vocabulary.colours import Colour, pieces

_CLASSES: dict[Colour, str] = {
    "comment": "c",
    "text": "s",
    "number": "d",
    "keyword": "k",
    "word": "v",
}


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
    return join(*(_piece(piece, _CLASSES.get(colour)) for colour, piece in pieces(text)))


def _piece(text: str, name: str | None) -> Html:
    return tag("span", text, class_=name) if name else join(text)
