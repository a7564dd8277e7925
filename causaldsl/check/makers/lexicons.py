"""`words` and `phrases`: word lists."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.prompts import Lexicon, check_lexicon_tokens
from causaldsl.check.sources import check_words, read_words
from causaldsl.diagnostics import located
from causaldsl.vocabulary.makers import Words


@makes(Words)
def words(context: Context, word: Words, operands: Operands) -> Lexicon:
    value, span = operands["list"]
    with located(span):
        if isinstance(value, str):
            value = read_words(context.path(value), value)
        else:
            check_words(value, "this list")
        context.limits.check("words", len(value), "too-many", "this lexicon has {} words")
        lexicon = Lexicon("", value, False, word.one_token, span)
        check_lexicon_tokens(lexicon, context.tokens(span), context.shapes(span).name)
    return lexicon
