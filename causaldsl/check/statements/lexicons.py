"""`lexicon`: a word list under a name."""

from __future__ import annotations

from dataclasses import replace

from causaldsl.check.apply import made
from causaldsl.check.context import Context, checks
from causaldsl.check.prompts import Lexicon
from causaldsl.diagnostics import wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.types import LexiconType


@checks(ast.Lexicon)
def lexicon(context: Context, node: ast.Lexicon) -> Lexicon:
    found: Lexicon | None = made(context, node.value, LexiconType)
    if found is None:
        raise wrong(
            "bad-lexicon",
            f"`{show(node.value)}` is not a word list",
            node.value.span,
            'write words("file.txt"), words(["Mary", "John"]) or phrases(...)',
        )
    return replace(found, name=node.name.text, halves=node.split == "half", span=node.span)
