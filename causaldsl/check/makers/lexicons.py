"""`words` and `phrases`: word lists."""

from __future__ import annotations

from dataclasses import replace

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
        lexicon = Lexicon("", tuple(value), False, word.one_token, span)
        if word.several == "skip" and word.one_token:
            return _of_one_token(context, lexicon)
        check_lexicon_tokens(lexicon, context.tokens(span), context.shapes(span).name)
    return lexicon


def _of_one_token(context: Context, lexicon: Lexicon) -> Lexicon:
    """Without the words that are several tokens in the model."""
    tokens, model = context.tokens(lexicon.span), context.shapes(lexicon.span).name
    left_out = [word for word in lexicon.words if tokens.single(f" {word}") is None]
    kept = tuple(word for word in lexicon.words if word not in left_out)
    if not kept:
        check_lexicon_tokens(lexicon, tokens, model)
    if left_out:
        context.warn(
            "words-left-out",
            f"of {len(lexicon.words)} words, these are left out, as several tokens in {model}: "
            f"{', '.join(left_out[:8])}{', ...' if len(left_out) > 8 else ''}",
            lexicon.span,
            "numbers are then of other prompts than with a model that has them all",
        )
    return replace(lexicon, words=kept)
