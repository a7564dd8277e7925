"""Whether sites, words and pairs agree: positions that exist, and enough to work with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from causaldsl.check.attention import check_keys
from causaldsl.check.cautions import warn_of_gradients, warn_of_positions
from causaldsl.check.context import Context
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet, Prompt, PromptSet
from causaldsl.check.places import Place, unknown_position
from causaldsl.check.prompts import PromptFamily
from causaldsl.check.values import Applied, ClassName
from causaldsl.diagnostics import Label, Mistake, Span, located, suggest, wrong
from causaldsl.vocabulary.attention import Attention
from causaldsl.vocabulary.base import SIDES, Side, Word
from causaldsl.vocabulary.directions import OfClasses


def check_place(
    context: Context, place: Place, pairs: PairSet, use: Span, both: bool = True
) -> None:
    """Every position must be in every prompt, and as many in the source as in the base.

    With ``both``, the program compares what is there in the base and in the source.
    """
    if (place.position, both) not in pairs.agreeing:
        _check_pairs(place, pairs, use, both)
        pairs.agreeing.add((place.position, both))
    if both:
        warn_of_positions(context, place, pairs, _used(place, use))


def check_sites(context: Context) -> None:
    """Every site that the program itself defines is at positions of some prompts, used or not.

    A file without pairs is there to be imported: its sites may be at those of other programs.
    """
    defined, scope = context.program.defined, context.scope
    known = _positions(defined.values())
    if not known:
        return
    for name, span in scope.places.items():
        site = defined.get(name)
        own = span.source.name == context.program.source.name
        if own and isinstance(site, Place) and site.position is not None:
            for point in dict.fromkeys(site.position.names):
                if point not in known:
                    context.problems.add(unknown_position(point, known).at(site.span))


def _positions(values: Iterable[object]) -> set[str]:
    """The names of positions in all prompts that there are here, or that a block could make."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, PromptFamily):
            found |= {"END", *(name for name, _, _ in value.places)}
        sets = value.sets if isinstance(value, PairFamily) else [value]
        pairs = [pair for one in sets if isinstance(one, PairSet) for pair in one.pairs]
        found.update(name for pair in pairs for prompt in pair.prompts for name in prompt.named)
    return found


def _check_pairs(place: Place, pairs: PairSet, use: Span, both: bool) -> None:
    for pair in pairs.pairs:
        base = _resolved(place, pair.base, pair.source, "base", use)
        if not both:
            continue
        source = _resolved(place, pair.source, pair.base, "source", use)
        if len(base) != len(source):
            raise wrong(
                "unequal-length",
                f"{place} is {len(base)} tokens in the base and {len(source)} in the source of a "
                "pair",
                place.span,
                f"base: {pair.base.text} / source: {pair.source.text}; name one position instead",
                _used(place, use),
            )


def _resolved(place: Place, prompt: Prompt, other: Prompt, side: Side, use: Span) -> list[int]:
    """The token indices in one prompt of a pair; an error says if the other one has them."""
    assert place.position is not None
    try:
        return place.position.resolve(prompt)
    except Mistake as mistake:
        message = mistake.message
        name = next((n for n in place.position.names if n not in prompt.named), None)
        if name in other.named:
            (has,) = (f"{known}s" for known in SIDES if known != side)
            message = f"the {side}s have no position `{name}`; only the {has} have it"
        labels = _used(place, use)
        raise wrong(mistake.code, message, place.span, mistake.help, labels) from None


def _used(place: Place, use: Span) -> list[Label]:
    """A label at the use of a site that is written elsewhere."""
    return [] if use.holds(place.span) else [Label(use, "used here")]


def check_sides(word: Word, pairs: PairSet, span: Span) -> None:
    """Prompts without sources have nothing that could come from a source."""
    if not pairs.paired and "source" in word.sides and not isinstance(pairs, PromptSet):
        raise wrong(
            "no-source",
            f"`{word.word}` takes activations of sources, and `{pairs.name}` has only bases",
            span,
            "use pairs with a source; ablate and steer need none",
        )


def check_amounts(applied: Applied, place: Place, pairs: PairSet, span: Span, use: Span) -> None:
    """There must be enough for a word to work with, and where it has to be, of equal length."""
    word, position = applied.word, place.position
    assert position is not None
    sides: Sequence[Side] = word.sides if pairs.paired else ("base",)
    prompts = [(side, getattr(pair, side)) for pair in pairs.pairs for side in sides]
    lengths = [1 if position.single else len(position.resolve(prompt)) for _, prompt in prompts]
    unwritten = isinstance(pairs, PromptSet) and pairs.sample is not None  # will all differ
    with located(span):
        word.check_enough(
            range(len(prompts)) if unwritten else [prompt.ids for _, prompt in prompts],
            sum(lengths),
        )
    if position.single or not word.aligned():
        return
    classes = [value.text for _, value in applied.operands if isinstance(value, ClassName)]
    for name in classes or [""]:
        first: dict[int, Prompt] = {}
        for (side, prompt), length in zip(prompts, lengths, strict=True):
            if not name or name in (side, prompt.cls):
                first.setdefault(length, prompt)
        if len(first) > 1:
            one, other = list(first)[:2]
            raise wrong(
                "unequal-length",
                f"`{word.word}` needs as many tokens in every prompt, but {place} is {one} in one "
                f"and {other} in another",
                place.span,
                f"one: {first[one].text} / another: {first[other].text}; name one position instead",
                _used(place, use),
            )


def check_learned(context: Context, applied: Applied) -> None:
    """A word with a site and pairs: its positions and classes must be in these pairs."""
    pairs, place = applied.operand("on"), applied.operand("site")
    if not isinstance(pairs, PairSet) or not isinstance(place, Place):
        return
    word = applied.word
    check_sides(word, pairs, applied.span)
    if not context.shapes(applied.span).text:
        _check_toy(applied)
    beside = place.site.is_virtual and place.site.dictionary is None
    if beside and word.runs == "gradients" and not word.learned:
        raise wrong(
            "no-gradient",
            f"the model's output has no gradient at {place.site}, which is not part of it",
            applied.span,
            f"das({place}, on: ...) learns a direction there",
        )
    if word.runs == "gradients" and not word.learned:
        warn_of_gradients(context, f"`{word.word}`", applied.span)
    check_place(context, place, pairs, applied.span, both=len(word.sides) > 1)
    if isinstance(word, Attention):
        check_keys(word.to, pairs, applied.span)
    other = applied.operand("at")
    if isinstance(other, Place):
        _check_places(context, place, other, pairs, applied)
    check_amounts(applied, place, pairs, applied.span, applied.span)


def with_classes(applied: Applied) -> Applied:
    """The word with the classes that it names as its pairs call them.

    Raises an error for one that is not there, and where base against source would be nothing.
    """
    pairs = applied.operand("on")
    named = [value.text for _, value in applied.operands if isinstance(value, ClassName)]
    if not named or not isinstance(pairs, PairSet):
        return applied
    if set(named) <= set(SIDES):
        _check_one_way(applied, pairs)
    called = {
        name: _class_of(value, name, pairs, applied.span)
        for name, value in applied.operands
        if isinstance(value, ClassName)
    }
    if len(called) == 2:
        one, other = (value.text for value in called.values())
        _check_apart(applied, one, other, pairs)
    operands = tuple((name, called.get(name, value)) for name, value in applied.operands)
    return replace(applied, operands=operands)


def _check_apart(applied: Applied, one: str, other: str, pairs: PairSet) -> None:
    """Two classes are two, and a word that tells them apart has no prompt that is of both."""
    help = f"classes here: {', '.join([*pairs.classes, *SIDES])}"
    if one == other:
        message = f"`{applied.word.word}` is of two classes, and both of these are `{one}`"
        raise wrong("same-class", message, applied.span, help)
    if not isinstance(applied.word, OfClasses):
        return
    for pair in pairs.pairs:
        for side in SIDES:
            prompt = pair.prompt(side)
            if {one, other} <= {side, prompt.cls}:
                raise wrong(
                    "same-class",
                    f"`{applied.word.word}` tells {one} from {other}, and a prompt is both",
                    applied.span,
                    f"one is: {prompt.text}; {help}",
                )


def _class_of(written: ClassName, name: str, pairs: PairSet, span: Span) -> ClassName:
    if written.text in SIDES:
        return written
    found = pairs.class_named(written.text)
    if found is None:
        raise wrong(
            "unknown-class",
            f"no prompt of `{pairs.name}` is of class `{written.text}` (the {name})",
            span,
            suggest(written.text, {*pairs.classes, *SIDES}, "classes"),
        )
    return ClassName(found)


def _check_one_way(applied: Applied, pairs: PairSet) -> None:
    """Base against source is a difference only if all pairs run in one direction."""
    if pairs.both_ways is None:
        return
    one, _ = pairs.both_ways
    if pairs.classes:
        ways = f"from {one.source.cls} to {one.base.cls} and back"
        help = f"name the classes: {', '.join(pairs.classes)}"
    else:
        ways = "between the same prompts and back"
        help = "give every prompt a `class` in the file and name two of them"
    raise wrong(
        "both-ways",
        f"`{pairs.name}` has pairs {ways}, so the mean of the bases minus that of the sources "
        "is no difference between classes",
        applied.span,
        f"{help}, or take pairs that all run in one direction",
    )


def _check_toy(applied: Applied) -> None:
    """A toy model has neither texts nor answers."""
    word = applied.word
    if word.on_text:
        raise wrong(
            "toy-text",
            f"`{word.word}` needs prompts, and a toy model has none",
            applied.span,
            "a toy model's activations are a line; measure and histogram show them",
        )
    if word.runs in ("edits", "gradients"):
        raise wrong(
            "toy-text",
            f"`{word.word}` needs answers, and a toy model has none",
            applied.span,
            "name the direction: neurons(site, [0]) or vector(site, [1, 2])",
        )


def _check_places(
    context: Context, site: Place, at: Place, pairs: PairSet, applied: Applied
) -> None:
    """A probe's two sites: as many positions each, and in the model if it is run anew."""
    check_place(context, at, pairs, applied.span, both=False)
    assert site.position is not None
    assert at.position is not None
    for pair in pairs.pairs if not (site.position.single and at.position.single) else ():
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
