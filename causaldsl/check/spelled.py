"""Answers of several tokens: their log-probability, teacher-forced, one token a row.

    log P(a1 .. ak | x) = sum_i log P(ai | x a1 .. a(i-1))

Every token of an answer and of a foil becomes a row of its own: its base is the prompt with what
comes before that token, END and every other position stay where they are in the prompt, and its
source is the pair's. So each row is an ordinary pair, and an intervention is the same in all rows
of a pair. ``folds`` says of which rows a pair's two log-probabilities are sums. Where answer and
foil are one token each, their difference is the logit difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from causaldsl.check.context import Context
from causaldsl.check.measurements import Run
from causaldsl.check.pairs import Pair, PairSet
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, wrong
from causaldsl.vocabulary.interventions import Ablate, Patch, Steer


def spelled_out(pairs: PairSet) -> PairSet:
    """A row for every token of every answer and foil, if some have several; else the pairs."""
    if not pairs.spelled:
        return pairs
    rows: list[Pair] = []
    for pair in pairs.pairs:
        for tokens in pair.wholes:
            for at, token in enumerate(tokens):
                named = tuple(pair.base.named.items())
                ids = (*pair.base.ids, *tokens[:at])
                base = replace(pair.base, ids=ids, positions=named)
                rows.append(Pair(base, pair.source, token, pair.foil, token))
    return PairSet(pairs.name, tuple(rows), paired=pairs.paired, original=pairs, where=pairs.where)


def folds(pairs: PairSet) -> list[tuple[int, int]]:
    """Of each row of :func:`spelled_out`, its pair, and 0 for the answer's or 1 for the foil's."""
    return [
        (number, side)
        for number, pair in enumerate(pairs.pairs)
        for side, tokens in enumerate(pair.wholes)
        for _ in tokens
    ]


def check_spelled(
    context: Context, pairs: PairSet, runs: Iterable[Run], metrics: Iterable[str], span: Span
) -> None:
    """What can be measured where answers have several tokens: sums over what each token gives.

    A change must be the same in all rows of a pair, so it can't be drawn from or averaged over
    rows.
    """
    if not pairs.spelled:
        return
    for name in metrics:
        if not context.words.metrics[name].of_continuations:
            known = [m.word for m in context.words.metrics.values() if m.of_continuations]
            raise wrong(
                "several-tokens",
                f"`{name}` is about one token, and `{pairs.name}` has answers of several",
                span,
                f"report {', '.join(known)}",
            )
    for run in runs:
        if any(stage != run.stages[0] for stage in run.stages):
            raise _no_change(pairs, run.span)
        for part in run.interventions:
            if not isinstance(part, Applied) or not _is_same_in_all_rows(part):
                raise _no_change(pairs, part.span)


def _is_same_in_all_rows(change: Applied) -> bool:
    place, word = change.operand("site"), change.word
    position = getattr(place, "position", None)
    plain = type(word) in (Patch, Steer) or (isinstance(word, Ablate) and word.to == "zero")
    others = {name for name, _ in change.operands} - {"site", "along"}
    if position is None or position.whole or place.site.is_virtual:  # type: ignore[union-attr]
        return False
    return plain and not others


def _no_change(pairs: PairSet, span: Span) -> Exception:
    return wrong(
        "several-tokens",
        f"this can't be done where answers have several tokens, as in `{pairs.name}`",
        span,
        "patch from the source, steer, and ablate to zero, at named positions, can",
    )
