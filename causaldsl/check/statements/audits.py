"""`audit NAME = illusion(v, against: u, on: pairs)`: which runs its evidence needs.

Every piece of evidence is an ordinary run of the base prompts with something changed, so that it
can be read in the graph: the arms below. What they say together is decided in the engine.

============  ===================================================================================
clean         nothing changed
whole         the whole site patched
v             patched along the subspace
row, null     along what W_out can see of it, and along what W_out sends to 0
plane         along both
active        of the patch along v, only the part along which the classes differ on the average
dormant       the rest of it
principal     only the part in the principal components that hold 99% of the variance
more principal  the same with 99.9%
clip in components  that, cut to what each component does by itself, pair by pair
clip          only what every neuron does by itself, pair by pair
random i      the same patch turned into a random direction
mlp i         DAS in the same place on a random MLP, patched there
das k         DAS with k neurons of the site
... seed k    one of those that decide, for the subspace that is trained with another seed
============  ===================================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from causaldsl.check.agreement import check_place
from causaldsl.check.apply import apply, arguments, matrix
from causaldsl.check.claims import argmax_is
from causaldsl.check.context import Context, checks, handles
from causaldsl.check.held_out import check_held_out
from causaldsl.check.measurements import CheckedAudit, Run
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.audits import (
    HELD,
    VERDICTS,
    Clip,
    Illusion,
    NaturalChange,
    PartOfPatch,
    Principal,
    SameLength,
    VerdictIs,
)
from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.interventions import Patch
from causaldsl.vocabulary.learned import Das
from causaldsl.vocabulary.subspaces import Null, Row
from causaldsl.vocabulary.subspaces import Span as SpanOf
from causaldsl.vocabulary.types import SiteType, SubspaceType, TruthType

_HOW = "write illusion(v, on: flip) or illusion(v, against: u, on: flip)"
_MATRICES = {"mlp_hidden": "W_out", "head.z": "W_O"}
"""Sites that a single matrix reads."""
_COMPONENTS = ("principal", "more principal")
_QUICK = Das.model_validate({"lr": 0.02, "epochs": 3})
"""How DAS is trained for the evidence, where the audited direction does not say it."""


@checks(ast.Audit, experiment=True)
def audit(context: Context, node: ast.Audit) -> CheckedAudit:
    call = node.value
    if not (
        isinstance(call, ast.Call)
        and isinstance(call.function, ast.Name)
        and call.function.text == "illusion"
    ):
        message = f"`{show(call)}` is not something to audit for"
        raise wrong("bad-audit", message, call.span, _HOW)
    train, test, rest = _pairs(context, call)
    positional, named = arguments(replace(call, arguments=tuple(rest)))
    found = apply(context, Illusion, positional, named, call.span)
    word = found.word
    assert isinstance(word, Illusion)
    of = found.operand("of")
    assert isinstance(of, Applied)
    span = positional[0].span if positional else call.span
    place = _site(context, of, found.operand("at"), span)
    check_place(context, place, test, call.span)
    _check_single(place, test, call.span)
    check_held_out(context, of, test, span)
    against = found.operand("against")
    if isinstance(against, Applied):
        check_held_out(context, against, test, call.span)
        _check_against(context, against, place, call)
    builder = _Builder(context, word, of, place, train, test, node.span)
    return CheckedAudit(
        name=node.name.text,
        word=word,
        of=of,
        against=against if isinstance(against, Applied) else None,
        place=place,
        pairs=test,
        parts=tuple(builder.parts.items()),
        runs=tuple(builder.runs),
        text=show(call),
        span=node.span,
    )


@handles(ast.IsVerdict)
def is_verdict(context: Context, node: ast.IsVerdict) -> Applied:
    """The claim `NAME is illusory`, or `argmax(SWEEP.METRIC) is CELL`."""
    if isinstance(node.owner, ast.Call) and getattr(node.owner.function, "text", "") == "argmax":
        return argmax_is(context, node.owner, node)
    audit = context.value(node.owner)
    if not isinstance(audit, CheckedAudit):
        message = f"`{show(node.owner)}` is not an audit"
        raise wrong("wrong-kind", message, node.owner.span, "only an audit has a verdict")
    verdict = show(node.verdict)
    if verdict not in VERDICTS:
        message = f"`{verdict}` is not a verdict"
        way = suggest(verdict, VERDICTS, "verdicts")
        raise wrong("unknown-verdict", message, node.verdict.span, way)
    word = VerdictIs.model_validate({"verdict": verdict})
    return Applied(word, (("audit", audit),), TruthType(), node.span)


def _pairs(
    context: Context, call: ast.Call
) -> tuple[PairSet | None, PairSet, list[ast.Expression | ast.Option]]:
    """What to learn on (None if there is nothing), what to measure on, and the other arguments."""
    rest: list[ast.Expression | ast.Option] = []
    train, test = None, None
    for argument in call.arguments:
        if not isinstance(argument, ast.Option) or argument.name.text != "on":
            rest.append(argument)
            continue
        if test is not None:
            raise wrong("option-twice", "`on` is given twice", argument.name.span)
        family = context.value(argument.value)
        if isinstance(family, PairFamily) and family.test is not None:
            train, test = family.train, family.test
        else:
            test = context.pair_set(argument.value)
        rest.append(argument)
    if test is None:
        raise wrong("missing-operand", "`illusion` needs `on: ...`, pairs", call.span, _HOW)
    return train, test, [_with_part(a, test) for a in rest]


def _with_part(argument: Any, test: PairSet) -> Any:
    """`on: flip` as `on: flip.test`, so that it can be read as any other operand."""
    if isinstance(argument, ast.Option) and argument.name.text == "on":
        owner, dot, part = test.name.rpartition(".")
        name = ast.Name(argument.span, owner if dot else test.name)
        value = ast.Attribute(argument.span, name, ast.Identifier(argument.span, part))
        return ast.Option(argument.span, argument.name, value if dot else name)
    return argument


def _site(context: Context, of: Applied, at: Any, span: Span) -> Place:
    """Where the audited subspace is patched."""
    place = at if isinstance(at, Place) else of.home
    if place is None:
        raise wrong(
            "no-site",
            f"`{span.text}` does not say at which site it is to be patched",
            span,
            "add it: illusion(v, at: mlp_hidden[20] @ END, on: flip)",
        )
    assert isinstance(of.type, SubspaceType)
    width = place.site.width(context.shapes(span))
    if place.site.kind == "hook" or place.site.is_virtual:
        way = "name a site of the model"
        if place.site.dictionary is not None:
            name = place.site.dictionary.name
            way = (
                f"audit what the features write: illusion(.. * decoder({name}), at: SITE @ END, ..)"
            )
        raise wrong("bad-site", f"{place.site} can't be audited", span, way)
    if width != of.type.width:
        raise wrong(
            "width-mismatch",
            f"this subspace has {of.type.width} dimensions, {place.site} has {width}",
            span,
            "audit a subspace at the site where it lives",
        )
    return place


def _check_single(place: Place, pairs: PairSet, span: Span) -> None:
    assert place.position is not None
    if any(len(place.position.resolve(pair.base)) != 1 for pair in pairs.pairs):
        raise wrong(
            "many-positions",
            f"{place} is more than one token",
            span,
            "audit a subspace at a single position, such as `@ END`",
        )


def _check_against(context: Context, against: Applied, place: Place, call: ast.Call) -> None:
    """`against` is a direction that the MLP's output can be compared with."""
    shapes = context.shapes(call.span)
    assert isinstance(against.type, SubspaceType)
    if place.site.kind != "mlp_hidden":
        raise wrong(
            "bad-against",
            f"`against` is for a subspace of mlp_hidden, and this one is of {place.site}",
            call.span,
            "leave `against` out, or audit a subspace of mlp_hidden",
        )
    if against.type.width != shapes.d_model:
        raise wrong(
            "bad-against",
            f"what {place.site} writes has {shapes.d_model} dimensions, and this direction "
            f"{against.type.width}",
            call.span,
            "`against` is a direction of the residual stream: of resid_post at the same layer or "
            "a later one",
        )
    made = against.home
    if made is not None and made.site.layer is not None and place.site.layer is not None:
        too_early = made.site.layer < place.site.layer or made.site.kind == "resid_pre"
        if too_early or made.position != place.position:
            raise wrong(
                "bad-against",
                f"{made} is not where {place} writes to",
                call.span,
                "compare with a direction at resid_post of the same layer or a later one, at the "
                "same position",
            )


class _Builder:
    """The arms of the evidence that can be had for this site, these pairs and this model."""

    def __init__(
        self,
        context: Context,
        word: Illusion,
        of: Applied,
        place: Place,
        train: PairSet | None,
        test: PairSet,
        span: Span,
    ):
        self.word, self.of, self.place = word, of, place
        self.train, self.test, self.span = train, test, span
        self.shapes = context.shapes(span)
        self.parts: dict[str, Applied] = {}
        self.runs = [Run("clean", (), "clean", (), span)]
        self.arm("whole", None)
        self.arm("v", of)
        if self.is_split:
            self.split()
        self.decompose()
        self.cut(of)
        for seed in range(word.directions):
            self.add(f"random {seed}", SameLength(seed=word.seed + seed), along=of)
        if place.site.kind == "mlp_hidden" and self.shapes.text and train is not None:
            self.learn(train)
        for number in range(1, word.seeds + 1):
            self.train_again(number)

    @property
    def is_split(self) -> bool:
        """Whether the matrix that alone reads the site is known. A head's site needs none else."""
        known = self.shapes.text and self.shapes.form is not None
        return self.place.site.kind == "mlp_hidden" or (self.place.site.kind == "head.z" and known)

    def subspace(self, word: Any, rank: int | None = None, **operands: Any) -> Applied:
        assert isinstance(self.of.type, SubspaceType)
        kind = SubspaceType(self.of.type.width, rank)
        return Applied(word, tuple(operands.items()), kind, self.span)

    def add(self, name: str, word: Any, place: Place | None = None, **operands: Any) -> None:
        """One more arm: an intervention at the site."""
        given = (("site", place or self.place), *operands.items())
        kind = SiteType((place or self.place).site.width(self.shapes))
        applied = Applied(word, given, kind, self.span)
        self.runs.append(Run(name, (applied,), name, (), self.span))

    def arm(self, name: str, along: Applied | None, place: Place | None = None) -> None:
        self.add(name, Patch(), place, **({} if along is None else {"along": along}))

    def split(self) -> None:
        """What the one matrix that reads the site sees of the subspace, and what it does not."""
        site = self.place.site
        reader = matrix(_MATRICES[site.kind], site.layer, site.head, self.shapes, self.span)
        row = self.subspace(Row(), matrix=reader, of=self.of)
        null = self.subspace(Null(), matrix=reader, of=self.of)
        self.parts |= {"matrix": reader, "row": row, "null": null}
        self.arm("row", row)
        self.arm("null", null)
        self.arm("plane", self.subspace(SpanOf(), parts=(row, null)))

    def decompose(self) -> None:
        """What of the patch lies along the classes' mean difference, what does not; components."""
        change = self.subspace(NaturalChange(), 1, site=self.place, on=self.train or self.test)
        self.parts["natural"] = change
        for name, part in (("active", "inside"), ("dormant", "outside")):
            self.add(name, PartOfPatch.model_validate({"part": part}), along=self.of, onto=change)
        for name, held in zip(_COMPONENTS, HELD, strict=True):
            word = Principal.model_validate({"share": held})
            self.parts[name] = self.subspace(word, site=self.place, on=self.train or self.test)

    def cut(self, of: Applied, end: str = "") -> None:
        """What of the patch moves by itself: in components, and as each of them or neuron does."""
        inside = PartOfPatch.model_validate({"part": "inside"})
        for name in _COMPONENTS:
            self.add(name + end, inside, along=of, onto=self.parts[name])
        self.add(f"clip in components{end}", Clip(), along=of, frame=self.parts[_COMPONENTS[-1]])
        if self.place.site.kind == "mlp_hidden":
            self.add(f"clip{end}", Clip(), along=of)

    def train_again(self, number: int) -> None:
        """The evidence that decides, for the same training with a seed ``number`` later."""
        again = self.of.word.seeded(number)
        if again is None:
            raise wrong(
                "no-seed",
                "`seeds` trains a subspace of `das` again, and this is none",
                self.span,
                "leave `seeds` out",
            )
        seed, word = again
        of, end = replace(self.of, word=word), f" seed {seed}"
        self.parts[f"of{end}"] = of
        self.arm(f"v{end}", of)
        self.cut(of, end)

    def learn(self, train: PairSet) -> None:
        """This training again, where no feature can be and with fewer neurons; else a quick DAS."""
        assert isinstance(self.of.type, SubspaceType)
        width, rank = self.of.type.width, self.of.type.rank or 1

        def trained(neurons: int | None = None) -> Word:
            return self.of.word.retrained(rank, neurons) or _QUICK.retrained(rank, neurons)

        layer, position = self.place.site.layer, self.place.position
        for seed in range(self.word.mlps):
            site = Site("random_mlp", layer, seed=self.word.seed + seed)
            fake = Place(site, position, self.place.span)
            self.arm(f"mlp {seed}", self.subspace(trained(), rank, site=fake, on=train), fake)
        for size in _sizes(self.word, width, rank):
            few = trained(None if size == width else size)
            self.arm(f"das {size}", self.subspace(few, rank, site=self.place, on=train))


def _sizes(word: Illusion, width: int, rank: int) -> list[int]:
    """Numbers of neurons for DAS: as asked for, else five, each four times the one before."""
    wanted = word.sizes if word.sizes is not None else [width // 4**i for i in range(5)]
    return sorted({size for size in wanted if rank <= size <= width})
