"""Programs in colour wherever Pygments is at work: notebooks, documentation, terminals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pygments.lexer import Lexer
from pygments.token import Comment, Keyword, Name, Number, Punctuation, String, Whitespace

from causaldsl.vocabulary.colours import Colour, pieces

_TOKENS: dict[Colour, Any] = {
    "comment": Comment.Single,
    "text": String.Double,
    "number": Number,
    "keyword": Keyword,
    "word": Name.Builtin,
    "name": Name,
    "sign": Punctuation,
    "space": Whitespace,
}


class CpatchLexer(Lexer):
    """The lexer of `.cpatch` programs."""

    name = "causaldsl"
    aliases = ("cpatch", "causaldsl")
    filenames = ("*.cpatch",)

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, Any, str]]:
        start = 0
        for colour, piece in pieces(text):
            yield start, _TOKENS[colour], piece
            start += len(piece)
