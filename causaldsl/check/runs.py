"""Named runs, and where the values are from that a patch puts in.

`patch S from base`, `from RUN`, `from x` of a named source, `from PAIRS.source` of other pairs,
`from mean(PAIRS.source)`, each perhaps `at` another site; `ablate S to mean of PAIRS.base` is a
patch from a mean too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from causaldsl.check.apply import apply_at
from causaldsl.check.context import Context
from causaldsl.check.kinds import Value, describe
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet, Prompt
from causaldsl.check.places import Place, PositionRef
from causaldsl.check.units import join
from causaldsl.check.values import Applied, CheckedPath
from causaldsl.diagnostics import Mistake, Span, located, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import SIDES, Change
from causaldsl.vocabulary.interventions import Patch, PatchFrom


class InForce(NamedTuple):
    """What a run does: interventions and paths, and for each the stage in which it acts.

    Those of one stage are in force at once; a later stage acts on what the earlier ones left.
    ``stages`` is empty where there is only one.
    """

    does: tuple[Applied | CheckedPath, ...]
    stages: tuple[int, ...] = ()


@dataclass(frozen=True)
class CheckedRun(Value):
    """`run NAME = base with ...`; ``text`` is what it does, as written."""

    kind = "a run"
    name: str
    in_force: InForce
    text: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Origin(Value):
    """Where values are from: a side of the pairs that are run, a named run of their bases, or one
    side ``of`` other pairs, pair by pair or as a mean; at another site, or (None) at the one that
    is patched. A side is that of a named source too."""

    kind = "where values are from"
    side: str = "base"
    run: CheckedRun | None = None
    of: PairSet | None = None
    mean: bool = False
    at: Place | None = None
    span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        of = f"{'mean of ' * self.mean}{self.of.digest}" if self.of else ""
        return f"{self.run.text if self.run else of} {self.side} {self.at or ''}"

    def prompts(self, pairs: PairSet) -> Sequence[Prompt]:
        """The prompts in which it is read, for a run on these pairs."""
        return (self.of or pairs).side(self.side)


def from_elsewhere(
    context: Context, cls: type[Change], node: ast.Intervention, places: Sequence[Place]
) -> tuple[Applied, ...]:
    """A verb whose values are from elsewhere, at each of its sites."""
    clauses = {clause.word: clause for clause in node.clauses}
    origin = _origin(context, cls, clauses, node)
    rest = [c for c in node.clauses if c.word not in cls.origins and c.word != "to"]
    named = [(ast.Identifier(c.span, c.word), c.value) for c in rest]
    plain = cls is Patch and origin == Origin("source")
    found = apply_at(context, Patch if plain else PatchFrom, places, named, node)
    if plain:
        return found
    for place in places:
        _check_width(context, origin, place, node)
    return tuple(replace(a, operands=(*a.operands, ("from", origin))) for a in found)


def _origin(
    context: Context, cls: type[Change], clauses: dict[str, ast.Clause], node: ast.Intervention
) -> Origin:
    for clause in node.clauses:
        if sum(other.word == clause.word for other in node.clauses) > 1:
            raise wrong("option-twice", f"`{clause.word}` is given twice", clause.span, "once")
    at = context.place(clauses["at"].value) if "at" in clauses else None
    if "of" in cls.origins:
        return replace(_mean_of_others(context, clauses, node), at=at)
    if "from" not in clauses:
        return Origin("source", at=at, span=node.span)
    return replace(_from(context, clauses["from"].value), at=at)


def _mean_of_others(
    context: Context, clauses: dict[str, ast.Clause], node: ast.Intervention
) -> Origin:
    to = clauses.get("to")
    if to is None or show(to.value) != "mean" or "of" not in clauses:
        message = "`of` and `at` say over which prompts a mean is taken, and where"
        way = "write `to mean of PAIRS.base`, and perhaps `at SITE @ POSITION` behind it"
        raise wrong("bad-option", message, node.span, way)
    return _mean(context, clauses["of"].value)


def _from(context: Context, node: ast.Expression) -> Origin:
    """`base`, `source`, the name of a source or of a run, `PAIRS.source` or its mean."""
    if isinstance(node, ast.Name) and node.text in SIDES and not context.knows(node.text):
        return Origin("source" if node.text == "source" else "base", span=node.span)
    if isinstance(node, ast.Call) and show(node.function) == "mean" and len(node.arguments) == 1:
        return _mean(context, node.arguments[0])
    if isinstance(node, ast.Attribute) and _is_side(context, node.name.text):
        return _side_of(context, node)
    if isinstance(node, ast.Name) and node.text in _named_sources(context):
        _check_one_meaning(context, node)
        return Origin(node.text, span=node.span)
    value = context.value(node)
    if isinstance(value, CheckedRun):
        return Origin(run=value, span=node.span)
    raise wrong(
        "wrong-kind",
        f"`{show(node)}` is {describe(value)}, nothing that a patch can take values from",
        node.span,
        "write base, source, the name of a `run` or of a source of the pairs, PAIRS.source "
        "of as many other pairs, or mean(PAIRS.source)",
    )


def _named_sources(context: Context) -> set[str]:
    """The names that sources have in any pairs of the program."""
    families = [v for v in context.scope.values.values() if isinstance(v, PairFamily)]
    return {name for family in families for name in family.sources}


def _check_one_meaning(context: Context, node: ast.Name) -> None:
    """A source and something else may have one name, but not where it could mean either."""
    if context.knows(node.text):
        raise wrong(
            "two-meanings",
            f"`{node.text}` is a source of pairs, and something else has this name too",
            node.span,
            "call one of them otherwise",
        )


def own_values(applied: Applied, pairs: PairSet) -> bool:
    """Whether a patch puts in what each base has there itself, so that it changes nothing."""
    origin = applied.operand("from")
    if not isinstance(origin, Origin) or origin.run is not None or origin.mean or origin.at:
        return False
    prompts = origin.prompts(pairs)
    return [prompt.ids for prompt in prompts] == [prompt.ids for prompt in pairs.side("base")]


def check_source(origin: Origin, pairs: PairSet, use: Span) -> None:
    """The pairs have the source that values are from."""
    if origin.side == "base" or origin.run is not None or origin.of is not None:
        return
    if not pairs.paired:
        raise wrong(
            "no-source",
            f"values of sources are taken here, and `{pairs.name}` has only bases",
            origin.span or use,
            "use pairs with a source",
        )
    if origin.side != "source" and origin.side not in pairs.sources:
        raise wrong(
            "no-source",
            f"`{pairs.name}` has no source `{origin.side}`",
            origin.span or use,
            suggest(origin.side, ["source", *pairs.sources], "sources"),
        )


def _mean(context: Context, node: Any) -> Origin:
    """The mean over `PAIRS.base` or `PAIRS.source`, or that of a name."""
    if not (isinstance(node, ast.Attribute) and _is_side(context, node.name.text)):
        message = f"`{show(node)}` is not one side of pairs"
        raise wrong("wrong-kind", message, node.span, "write PAIRS.base or PAIRS.source")
    return replace(_side_of(context, node), mean=True)


def _is_side(context: Context, name: str) -> bool:
    return name in {*SIDES, *_named_sources(context)}


def _side_of(context: Context, node: ast.Attribute) -> Origin:
    """One side of other pairs, `PAIRS.base`."""
    side = node.name.text
    pairs = context.pair_set(node.owner, answers=side != "base", asked="nothing")
    check_source(Origin(side, span=node.span), pairs, node.span)
    return Origin(side, of=pairs, span=node.span)


def _check_width(context: Context, origin: Origin, place: Place, node: ast.Intervention) -> None:
    """What is read has as many numbers as the site that it is put into."""
    shapes, read = context.shapes(node.span), origin.at or place
    here, there = place.site.width(shapes), read.site.width(shapes)
    if here is not None and there is not None and here != there:
        raise wrong(
            "width-mismatch",
            f"{read.site} has {there} dimensions, {place.site} has {here}",
            node.span,
            "take the values from a site of the same kind",
        )
    if origin.run is not None and (read.site.is_virtual or place.site.is_virtual):
        raise wrong(
            "not-in-the-model",
            f"{read.site if read.site.is_virtual else place.site} is no part of the model, so a "
            "named run has no values there",
            node.span,
            "use a site of the model, or values from base or source",
        )


def check_origin(origin: Origin, place: Place, pairs: PairSet, use: Span) -> None:
    """As many tokens are read as are changed, in every pair; of a mean, in all prompts alike."""
    check_source(origin, pairs, use)
    if origin.of is not None and not origin.mean:
        _check_one_for_one(origin.of, origin.side, pairs, origin.span or use)
    read = (origin.at or place).position
    assert read is not None
    assert place.position is not None
    with located(origin.span or use):
        there = [_count(read, prompt, origin.side) for prompt in origin.prompts(pairs)]
    bases = pairs.side("base")
    if place.site.is_pattern:
        _check_same_length(place, bases, origin.prompts(pairs), origin.span or use)
    here = [len(place.position.resolve(prompt)) for prompt in bases]
    if origin.mean and len(set(there)) > 1:
        low, high = min(there), max(there)
        message = f"a mean needs as many tokens in every prompt, and {read} is {low} to {high}"
        raise wrong("unequal-length", message, origin.span or use, "name one position instead")
    expected = there[:1] * len(here) if origin.mean else there
    for wanted, found in zip(here, expected, strict=True):
        if wanted != found:
            raise wrong(
                "unequal-length",
                f"{place} is {wanted} tokens of a base, and {found} are read at {read}",
                origin.span or use,
                "name one position in both places",
            )


def _check_one_for_one(of: PairSet, side: str, pairs: PairSet, span: Span) -> None:
    """Each pair takes its values from the other pair in its place, and pairs that count as apart
    take none from prompts that don't."""
    if of.digest == pairs.digest:
        return
    way = f"write mean({of.name}.{side}), or give `{pairs.name}` a source of a name"
    if len(of) != len(pairs):
        message = f"`{of.name}` has {len(of)} pairs and `{pairs.name}` {len(pairs)}, so that not "
        raise wrong("unequal-length", f"{message}each pair has one to take from", span, way)
    for some in (of, pairs):
        if some.where:
            message = f"a run says which pairs of `{some.name}` are left, so none has a fixed place"
            raise wrong("unequal-length", message, span, way)
    both = zip(pairs.pairs, of.side(side), of.units.of_pair, strict=True)
    named = [[*pair.named, ("prompt", taken.text), ("unit", unit)] for pair, taken, unit in both]
    if len(set(join(named))) < pairs.units.count:
        message = (
            f"pairs of `{pairs.name}` that count as apart would take their values from the same "
            f"prompts of `{of.name}`, and intervals would be too narrow"
        )
        raise wrong("shared-prompts", message, span, way)


def _count(read: PositionRef, prompt: Prompt, side: str) -> int:
    """How many tokens are read in a prompt of one side."""
    try:
        return len(read.resolve(prompt))
    except Mistake as mistake:
        of = f"the {side}s" if side in SIDES else f"the sources `{side}`"
        message = mistake.message.replace("the prompts", of)
        raise Mistake(mistake.code, message, mistake.help) from None


def _check_same_length(
    place: Place, bases: Sequence[Prompt], read: Sequence[Prompt], span: Span
) -> None:
    """A pattern has a share for each token of its prompt; all bases are as long as the first."""
    for prompt in read:
        if prompt.length != bases[0].length:
            raise wrong(
                "unequal-length",
                f"{place} has a share for each token, and it is read in a prompt of another length",
                span,
                f"one: {bases[0].text} / another: {prompt.text}; use pairs of equal length",
            )
