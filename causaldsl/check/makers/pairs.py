"""Readers of files of pairs, and `numbers`."""

from __future__ import annotations

from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.sources import number_pairs, read_pairs
from causaldsl.diagnostics import Mistake, located
from causaldsl.vocabulary.makers import Numbers, Reader


@makes(Reader)
def read(context: Context, word: Reader, operands: Operands) -> PairFamily:
    written, span = operands["file"]
    with located(span):
        tokens = context.tokens(span).framed(getattr(word, "frame", None))
        found = read_pairs(word, context.path(written), written, tokens, context.limits)
    return found.only(getattr(word, "where", None))


@makes(Numbers)
def numbers(context: Context, word: Numbers, operands: Operands) -> PairFamily:
    base, source = operands["base"], operands["source"]
    shapes = context.shapes(base.span)
    if shapes.text:
        message = f"{shapes.name} reads text, not numbers"
        raise Mistake("toy-only", message, 'write pairs NAME = jsonl("pairs.jsonl")')
    return number_pairs(base.value, source.value)
