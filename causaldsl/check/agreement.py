"""Whether sites, words and pairs agree: positions that exist, and no testing on training pairs."""

from __future__ import annotations

from causaldsl.check.pairs import PairSet
from causaldsl.check.values import Applied, ClassName, Place
from causaldsl.diagnostics import Label, Mistake, Span, suggest, wrong
from causaldsl.vocabulary.probes import Probe


def check_place(place: Place, pairs: PairSet, use: Span, both: bool = True) -> None:
    """Every position must be in every prompt, and as many in the source as in the base."""
    assert place.position is not None
    labels = [] if use.start <= place.span.start < use.end else [Label(use, "used here")]
    counts: set[int] = set()
    for pair in pairs.pairs:
        try:
            base = place.position.resolve(pair.base)
            counts.add(len(base))
            if both:
                source = place.position.resolve(pair.source)
        except Mistake as mistake:
            raise wrong(mistake.code, mistake.message, place.span, mistake.help, labels) from None
        if both and len(base) != len(source):
            raise wrong(
                "unequal-length",
                f"{place} is {len(base)} tokens in the base and {len(source)} in the source of a "
                "pair",
                place.span,
                f"base: {pair.base.text} / source: {pair.source.text}; name one position instead",
                labels,
            )


def check_held_out(applied: Applied, pairs: PairSet, span: Span) -> None:
    """What was learned from pairs may not be tested on the same pairs."""
    for part in applied.walk():
        for _, operand in part.operands:
            if isinstance(operand, PairSet):
                shared = operand.identities & pairs.identities
                if shared:
                    raise wrong(
                        "trained-on-these",
                        f"this was made from {len(shared)} of the pairs it is measured on",
                        span,
                        "measure on held-out pairs, such as the .test part",
                        [Label(part.span, f"made from `{operand.name}` here")],
                    )


def check_learned(applied: Applied, text: bool) -> None:
    """A word with a site and pairs: its positions and classes must be in these pairs."""
    pairs, place = applied.operand("on"), applied.operand("site")
    if not isinstance(pairs, PairSet) or not isinstance(place, Place):
        return
    if isinstance(applied.word, Probe) and not text:
        raise wrong(
            "toy-text",
            f"`{applied.word.word}` needs prompts, and a toy model has none",
            applied.span,
            "a toy model's activations are a line; measure and histogram show them",
        )
    runs = applied.word.runs in ("edits", "gradients")
    if runs and not text:
        raise wrong(
            "toy-text",
            f"`{applied.word.word}` needs answers, and a toy model has none",
            applied.span,
            "name the direction: neurons(site, [0]) or vector(site, [1, 2])",
        )
    backward = applied.word.runs == "gradients"
    if place.site.is_virtual and backward and not applied.word.learned:
        raise wrong(
            "no-gradient",
            f"the model's output has no gradient at {place.site}, which is not part of it",
            applied.span,
            f"das({place}, on: ...) learns a direction there",
        )
    check_place(place, pairs, applied.span, both=len(applied.word.sides) > 1)
    other = applied.operand("at")
    if isinstance(other, Place):
        _check_places(place, other, pairs, applied)
    known = {p.pattern for pair in pairs.pairs for p in (pair.base, pair.source) if p.pattern}
    known |= {"base", "source"}
    for name, operand in applied.operands:
        if isinstance(operand, ClassName) and operand.text not in known:
            raise wrong(
                "unknown-class",
                f"no prompt of `{pairs.name}` is of class `{operand.text}` (the {name})",
                applied.span,
                suggest(operand.text, known, "classes"),
            )


def _check_places(site: Place, at: Place, pairs: PairSet, applied: Applied) -> None:
    """A probe's two sites: as many positions each, and in the model if it is run anew."""
    check_place(at, pairs, applied.span, both=False)
    assert site.position is not None
    assert at.position is not None
    for pair in pairs.pairs:
        counts = [len(place.position.resolve(pair.base)) for place in (site, at) if place.position]
        if counts[0] != counts[1]:
            raise wrong(
                "unequal-length",
                f"{site} is {counts[0]} tokens of a prompt, but {at} is {counts[1]}",
                applied.span,
                f"the prompt is: {pair.base.text}",
            )
    for place in (site, at):
        if applied.word.runs == "edits" and place.site.is_virtual:
            raise wrong(
                "not-in-the-model",
                f"{place.site} is no part of the model, so a step does not reach it",
                applied.span,
                "use sites of the model, such as mlp_hidden[0] @ END",
            )
