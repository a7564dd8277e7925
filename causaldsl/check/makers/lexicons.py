"""`words` and `phrases`: word lists."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.prompts import Lexicon, in_pieces, split_words
from causaldsl.check.sources import check_words, read_words
from causaldsl.diagnostics import Span, located, wrong
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
    dropped = _dropped(context, value, span) if word.one_token else frozenset()
    return Lexicon("", value, False, word.one_token, span, dropped)


def _dropped(context: Context, words: tuple[str, ...], span: Span) -> frozenset[str]:
    """The words that this model has no single token for; a warning says which."""
    tokens, model = context.tokens(span), context.shapes(span).name
    dropped = split_words(words, tokens)
    shown = in_pieces([word for word in words if word in dropped], tokens)
    if len(dropped) == len(words):
        raise wrong(
            "not-one-token",
            f"none of these words is one token in {model}: {shown}",
            span,
            "choose others, or write phrases(...) for words that are never answers",
        )
    if dropped:
        are = "is not one token" if len(dropped) == 1 else "are not one token each"
        context.warn(
            "dropped-words",
            f"{len(dropped)} of {len(words)} words {are} in {model}; left out: {shown}",
            span,
            "take them out of the lexicon, or write phrases(...) for words that are never answers",
        )
    return dropped
