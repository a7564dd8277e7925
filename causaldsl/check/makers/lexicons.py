"""`words`, `phrases` and `table`: word lists."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.prompts import Lexicon, in_pieces, split_words
from causaldsl.check.readers.columns import Unusable, text_of
from causaldsl.check.readers.containers import read_rows
from causaldsl.check.sources import check_words, read_words
from causaldsl.diagnostics import Mistake, Span, located, wrong
from causaldsl.vocabulary.makers import Table, Words


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


@makes(Table)
def table(context: Context, word: Table, operands: Operands) -> Lexicon:
    """The words of a file's first column, and what stands beside each."""
    written, span = operands["file"]
    with located(span):
        rows = read_rows(context.path(written), written, context.limits)
        first = next(iter(rows.rows[0][1]), "") if rows.rows else ""
        names = list(dict.fromkeys(name for _, row in rows.rows for name in row))
        if len(names) < 2 or rows.damaged:
            places = ", ".join(f"{where} {reason}" for where, reason in rows.damaged[:4])
            raise Mistake(
                "bad-table",
                f"{written} is no table of words: {places or 'it has a single column'}",
                "begin it with a line of names, then write a word and what belongs to it in each "
                "line, with tabs or commas between",
            )
        context.limits.check("words", len(rows.rows), "too-many", "this lexicon has {} words")
        try:
            cells = [[text_of(row, name, f"`{name}`") for name in names] for _, row in rows.rows]
        except Unusable as unusable:
            message = f"words in {written} {unusable.reason}"
            raise Mistake("bad-table", message, "fill every column of every line") from None
        words = tuple(line[0] for line in cells)
        check_words(words, written)
    columns = {
        name: dict(zip(words, (line[at] for line in cells), strict=True))
        for at, name in enumerate(names)
        if name != first
    }
    return Lexicon("", words, False, False, span, frozenset(), columns)
