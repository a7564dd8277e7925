"""What a run does at once, or in stages: interventions, paths and named runs, `A + B then C`.

What `+` joins is in force at once, so that its order can't matter: two that act on one place and
don't commute are an error. Where only the run can tell whether two subspaces are at right angles,
it is checked there (``engine/prepared.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from causaldsl.check.circuits import CheckedCircuit, check_circuit_on, circuit, is_circuit
from causaldsl.check.context import Context
from causaldsl.check.interventions import check_all_on, check_unbracketed, interventions, site_of
from causaldsl.check.pairs import PairSet
from causaldsl.check.paths import check_path_on, path_of
from causaldsl.check.places import Place
from causaldsl.check.runs import CheckedRun, InForce, Origin
from causaldsl.check.values import Applied, CheckedPath
from causaldsl.diagnostics import Label, Span, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.interventions import Ablate, Cut, Steer


class _Part(NamedTuple):
    """What stands between joints, and how it is joined to what is before it."""

    joint: str
    node: ast.Intervention | ast.Chain | ast.Expression
    does: InForce


def in_force(context: Context, node: ast.Interventions, pairs: PairSet) -> InForce:
    """What an arm does, checked against the pairs that it runs on."""
    return _on_pairs(context, parts_of(context, node), pairs)


def plain(
    context: Context, node: ast.Interventions, pairs: PairSet, code: str, message: str
) -> InForce:
    """Interventions where no path may stand; ``code`` and ``message`` say so of one."""
    for part in node.parts:
        if isinstance(part, ast.Chain):
            raise wrong(code, message, part.span, _WAY)
    parts = parts_of(context, node)
    for one in parts:
        if any(isinstance(does, CheckedPath) for does in one.does.does):
            raise wrong(code, message, one.node.span, _WAY)
    return _on_pairs(context, parts, pairs)


_WAY = "write an intervention, such as patch SITE along SUBSPACE"


def parts_of(context: Context, node: ast.Interventions) -> list[_Part]:
    """All that joints join, whatever pairs it will be made on."""
    parts = [_Part(joint, part, _does(context, part)) for joint, part in node.joined()]
    for part in parts:
        direct = [one for one in part.does.does if isinstance(one, CheckedPath) and one.direct]
        if direct and len(parts) > 1:
            what, held = "a path straight to the logits", "held"
            if isinstance(direct[0], CheckedCircuit):
                what, held = "a circuit", "outside it"
            raise wrong(
                "direct-joined",
                f"{what} can't be joined with anything else",
                part.node.span,
                f"its logits are those of the run with all else {held}; give it an arm of its own",
            )
    return parts


def _does(context: Context, node: ast.Node) -> InForce:
    if isinstance(node, ast.Intervention) and is_circuit(context, node):
        return InForce((circuit(context, node),))
    if isinstance(node, ast.Intervention):
        return InForce(interventions(context, node))
    check_unbracketed(context, node)
    value = context.value(node) if isinstance(node, ast.Name) else None
    if isinstance(value, CheckedRun):
        return value.in_force
    return InForce((path_of(context, node),))


def joined(parts: Sequence[_Part]) -> InForce:
    """All of it in order, with the stage of each where there are several."""
    acts = _acts(parts)
    stages = tuple(act.stage for act in acts)
    return InForce(tuple(act.by for act in acts), stages if len(set(stages)) > 1 else ())


class _Act(NamedTuple):
    """One of the things that are done, in which stage, and where it is written."""

    by: Applied | CheckedPath
    stage: int
    node: ast.Node


def _acts(parts: Sequence[_Part]) -> list[_Act]:
    acts: list[_Act] = []
    for number, part in enumerate(parts):
        inner = part.does.stages or (0,) * len(part.does.does)
        after = parts[number + 1].joint if number + 1 < len(parts) else "then"
        if len(set(inner)) > 1 and (after == "+" or (number and part.joint == "+")):
            raise wrong(
                "order-matters",
                f"`{show(part.node)}` does one thing after another, so `+` can't join it",
                part.node.span,
                "join it by `then`",
            )
        first = 0 if not acts else max(act.stage for act in acts) + (part.joint == "then")
        together = zip(part.does.does, inner, strict=True)
        acts += [_Act(by, first + stage, part.node) for by, stage in together]
    return acts


def what_it_does(context: Context, node: ast.Interventions) -> str:
    """An arm as a reader should see it: paths in full, with their policies, and named runs."""
    texts = []
    for joint, part in node.joined():
        known = context.scope.values.get(part.text) if isinstance(part, ast.Name) else None
        text = known.text if isinstance(known, CheckedPath | CheckedRun) else show(part)
        texts += [joint, text]
    return " ".join(texts[1:])


def _on_pairs(context: Context, parts: Sequence[_Part], pairs: PairSet) -> InForce:
    """Every part must fit the pairs, and those that act at once must commute."""
    for part in parts:
        span = part.node.span
        use = part.node.site.span if isinstance(part.node, ast.Intervention) else span
        _check_does(context, part, pairs, span, use)
    found = joined(parts)
    _check_order(context, parts, pairs)
    return found


def _check_does(context: Context, part: _Part, pairs: PairSet, span: Span, use: Span) -> None:
    """What a part does, and the named runs that it takes values from, must fit the pairs."""
    paths = [one for one in part.does.does if isinstance(one, CheckedPath)]
    changes = [one for one in part.does.does if isinstance(one, Applied)]
    check_all_on(context, changes, pairs, span, use)
    for path in paths:
        check_path_on(context, path, pairs, span)
        if isinstance(path, CheckedCircuit):
            check_circuit_on(path, pairs, span)
        changes += path.changes
    origins = [one.operand("from") for one in changes]
    runs = [origin.run for origin in origins if isinstance(origin, Origin) and origin.run]
    for run in {run.name: run for run in runs}.values():
        taken = _Part("+", ast.Name(span, run.name), run.in_force)
        _check_does(context, taken, pairs, span, span)
        _check_order(context, [taken], pairs)


def _check_order(context: Context, parts: Sequence[_Part], pairs: PairSet) -> None:
    """Two that act on one place at once must commute, as far as is known before the run."""
    at_hook: dict[str, list[_Write]] = defaultdict(list)
    for act in _acts(parts):
        for place in _written(act.by):
            at_hook[place.site.hook_name].append(_Write(place, *act))
    for writes in at_hook.values():
        for one, other in combinations(writes, 2):
            _check_both(one, other, pairs)
    _check_transcoders(context, parts, pairs)


def _check_transcoders(context: Context, parts: Sequence[_Part], pairs: PairSet) -> None:
    """A change of a transcoder's features is worked out from the clean base: nothing that its
    features are made from may be changed with them."""
    writes = [write for act in _acts(parts) for write in _all_written(act)]
    for one in writes:
        if one.place.site.read == one.place.site.written:
            continue
        shapes = context.shapes(one.node.span)
        for other in writes:
            if other is not one and _comes_before(other.place, one.place, pairs, shapes):
                what = "something else" if other.node is one.node else f"`{show(other.node)}`"
                raise wrong(
                    "transcoder-alone",
                    f"a change of {one.place} is worked out from the clean run, and {what} may "
                    f"change what it reads at {one.place.site.read}",
                    one.node.span,
                    "change a transcoder's features in an arm of their own",
                    [] if other.node is one.node else [Label(other.node.span, "the other one")],
                )


def _all_written(act: _Act) -> list[_Write]:
    """What is changed, by a path its senders too."""
    places = list(_written(act.by))
    if isinstance(act.by, CheckedPath):
        places += [site_of(applied) for applied in act.by.sender]
    return [_Write(place, *act) for place in places]


def _comes_before(other: Place, features: Place, pairs: PairSet, shapes: ModelDims) -> bool:
    """Whether a change elsewhere may reach what features are read from, or changes them too."""
    site, read = other.site, features.site.read
    if site.dictionary is not None and site.dictionary == features.site.dictionary:
        return _overlap(other, features, pairs)
    if site.kind == "logits":
        return False
    if site.layer is None or read.layer is None:
        return True
    return site.before(read, shapes)


class _Write(NamedTuple):
    """A place that is written, and what does it."""

    place: Place
    by: Applied | CheckedPath
    stage: int
    node: ast.Node


def _written(by: Applied | CheckedPath) -> Sequence[Place]:
    if isinstance(by, Applied):
        return [site_of(by)]
    return by.hops[-1] if by.hops else ()


def _check_both(one: _Write, other: _Write, pairs: PairSet) -> None:
    raw = "hook" in (one.place.site.kind, other.place.site.kind)
    same = one.place.site.written == other.place.site.written
    if one.by is other.by or not (raw or same):
        return
    features = any(each.place.site.dictionary is not None for each in (one, other))
    virtual = one.place.site.is_virtual and not features
    if one.stage != other.stage and not virtual:
        return
    commute = not (virtual or features) and _commute(one.by, other.by)
    if commute or not _overlap(one.place, other.place, pairs):
        return
    first, second = show(one.node), show(other.node)
    where = replace(one.place, site=one.place.site.written)
    way = "write `A then B` for `A + B`: first A, then B on what A left"
    if isinstance(one.by, CheckedPath) or isinstance(other.by, CheckedPath):
        way = "write `A then B`, or join what paths start with: a + b -> .. -> logits"
    elif features:
        way = "name features of one dictionary as a set, f.features[{3, 7}]; or write `A then B`"
    elif virtual:
        way = "what it adds is worked out from the clean run: change it once"
    elif one.node is other.node and isinstance(one.node, ast.Intervention):
        way = "name positions that are never the same token"
    if one.node is other.node:
        raise wrong(
            "order-matters",
            f"`{first}` acts twice on one token, at {one.place} and {other.place}, so the order "
            "would matter",
            one.node.span,
            way,
        )
    raise wrong(
        "order-matters",
        f"`{first}` and `{second}` both act on {where}, so their order would matter",
        other.node.span,
        way,
        [Label(one.node.span, "the other one")],
    )


def _commute(one: Applied | CheckedPath, other: Applied | CheckedPath) -> bool:
    """Whether two commute at one place, or only the run can tell."""
    if isinstance(one, CheckedPath) or isinstance(other, CheckedPath):
        return False
    if one.alike(other) or (_adds(one) and _adds(other)):
        return True
    if isinstance(one.word, Cut) or isinstance(other.word, Cut):
        return False  # what is set is not what a cut leaves
    return all(_adds(each) or each.operand("along") is not None for each in (one, other))


def _adds(applied: Applied) -> bool:
    word = applied.word
    return isinstance(word, Steer | Cut) or (isinstance(word, Ablate) and word.to == "noise")


def _overlap(one: Place, other: Place, pairs: PairSet) -> bool:
    """Whether two places share a token of any base."""
    assert one.position is not None
    assert other.position is not None
    return one.position.meets(other.position, pairs.side("base"))


def unstaged(found: InForce, span: Span, what: str) -> tuple[Applied | CheckedPath, ...]:
    """What acts at once, where nothing can act in stages."""
    if found.stages:
        raise wrong("then-here", f"`then` can't stand in {what}", span, "join them by `+`")
    return found.does
