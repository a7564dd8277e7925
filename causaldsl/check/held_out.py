"""No testing on what was trained on: what was learned from a prompt isn't held out on it."""

from __future__ import annotations

from causaldsl.check.context import Context
from causaldsl.check.pairs import Pair, PairSet
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Label, Span, wrong


def based_in(pairs: PairSet, others: PairSet) -> list[Pair]:
    """Pairs whose base is a prompt of others too, however it is paired there."""
    return [pair for pair in pairs.pairs if pair.base.text in others.texts]


def equal_to(pairs: list[Pair], others: PairSet) -> list[Pair]:
    """Those of which others have the base with a source of theirs too, whichever way round."""
    known = {exchange for pair in others.pairs for exchange in pair.exchanges}
    return [pair for pair in pairs if not known.isdisjoint(pair.exchanges)]


def check_held_out(context: Context, applied: Applied, pairs: PairSet, span: Span) -> None:
    """What was learned from prompts may not be tested on pairs that have them as bases.

    A source gives a value alone: of one that was learned from there is a warning.
    """
    for part in applied.learned_from:
        for _, operand in part.operands:
            if isinstance(operand, PairSet):
                label = Label(part.span, f"made from `{operand.name}` here")
                _check(operand, pairs, span, label)
                _warn(context, operand, pairs, span, label)


def _check(learned: PairSet, pairs: PairSet, span: Span, label: Label) -> None:
    again = based_in(pairs, learned)
    if again:
        same = equal_to(again, learned)
        seen = f"{len(same)}" if same else f"the bases of {len(again)}"
        raise wrong(
            "trained-on-these",
            f"this was made from {seen} of the {len(pairs)} pairs it is measured on",
            span,
            "measure on held-out pairs, such as the .test part",
            [label],
        )


def _warn(context: Context, learned: PairSet, pairs: PairSet, span: Span, label: Label) -> None:
    sources = [p.text for pair in pairs.pairs for p in pair.prompts[1:] if p.text in learned.texts]
    if sources:
        several = len(set(sources))
        context.warn(
            "seen-source",
            f"this was made from {several} source{'s' * (several > 1)} of `{pairs.name}`, on which "
            f"it is measured: {sources[0]}",
            span,
            "measure on pairs that share no prompt with what it was made from",
            [label],
        )
