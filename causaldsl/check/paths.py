"""Paths: `sender -> receivers -> logits { freeze ... layernorm ... }`, and arms with them."""

from __future__ import annotations

from collections.abc import Sequence

from causaldsl.check.agreement import check_place
from causaldsl.check.apply import build
from causaldsl.check.context import Context, Located
from causaldsl.check.interventions import check_all_on, interventions, site_of
from causaldsl.check.kinds import describe
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.sets import Members
from causaldsl.check.stages import stage_places
from causaldsl.check.values import Applied, CheckedPath
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.interventions import Patch
from causaldsl.vocabulary.sites import SITE_WORDS, listed
from causaldsl.vocabulary.traces import POLICIES
from causaldsl.vocabulary.types import SubspaceType

_RECEIVERS = [word for word in SITE_WORDS.values() if word.receives]
_WAY = f"receivers are {listed(_RECEIVERS, 'and')}"


def path_of(context: Context, node: ast.Node) -> CheckedPath:
    """A path, written out or by its name."""
    if isinstance(node, ast.Chain):
        return _chain(context, node)
    text = show(node)
    value = context.value(node)  # type: ignore[arg-type]
    if isinstance(value, CheckedPath):
        return value
    if isinstance(value, Members):
        way = f"write patch {text}, or {text} -> ..."
        raise _no_intervention(text, value.kind, node.span, way)
    along = isinstance(value, Applied) and isinstance(value.type, SubspaceType)
    way = f"write patch SITE along {text}" if along else f"write patch {text}"
    raise _no_intervention(text, describe(value), node.span, way)


def _no_intervention(text: str, what: str, span: Span, help: str) -> Exception:
    return wrong("wrong-kind", f"`{text}` is {what}, not an intervention", span, help)


def _chain(context: Context, node: ast.Chain) -> CheckedPath:
    shapes = context.components(node.span, "for a path to go through")
    policy = _policy(node)
    _check_norms(policy[1], shapes, node)
    sender = _sender(context, node.sender)
    *middle, last = node.stages
    if not (isinstance(last, ast.Name) and last.text == "logits"):
        raise wrong(
            "path-end",
            f"this path ends at `{show(last)}`",
            last.span,
            "a path ends with `-> logits`, where the metrics are measured",
        )
    hops: list[tuple[Place, ...]] = []
    before = [site_of(applied) for applied in sender]
    for stage in middle:
        receivers = _receivers(context, stage)
        _check_order(before, receivers, shapes, stage.span)
        hops.append(receivers)
        before = list(receivers)
    if any(place.site.depth(shapes)[0] >= shapes.n_layers for place in before):
        raise wrong(
            "comes-before", "nothing comes after the logits", node.sender.span, "start at a site"
        )
    return CheckedPath(sender, tuple(hops), *policy, show(node), node.span)


def _policy(node: ast.Chain) -> tuple[str, str]:
    """The two choices, freeze and layernorm, both of which must be written."""
    chosen: dict[str, str] = {}
    for item in node.policy.items if node.policy else ():
        word, choice = item.word.text, item.choice.text
        if word not in POLICIES:
            help = suggest(word, POLICIES, "words of a policy")
            raise wrong("unknown-policy", f"a path has no `{word}`", item.word.span, help)
        if word in chosen:
            raise wrong("option-twice", f"`{word}` is given twice", item.word.span, "give it once")
        if choice not in POLICIES[word]:
            message = f"there is no `{word} {choice}`"
            raise wrong("unknown-policy", message, item.choice.span, _choices([word]))
        chosen[word] = choice
    missing = [word for word in POLICIES if word not in chosen]
    if missing:
        raise wrong(
            "no-policy",
            f"this path does not say its {' and its '.join(missing)} policy",
            node.policy.span if node.policy else node.stages[-1].span,
            _choices(missing),
        )
    return chosen["freeze"], chosen["layernorm"]


def _check_norms(layernorm: str, shapes: ModelDims, node: ast.Chain) -> None:
    """A norm that is not known can't be held, and must not be left free in silence."""
    if layernorm == "frozen" and shapes.form is None:
        raise wrong(
            "unknown-norms",
            f"where {shapes.architecture} has its norms is not known here, so they can't be held",
            node.policy.span if node.policy else node.span,
            "write layernorm recompute; `causaldsl models --families` lists the known families",
        )


def _choices(words: Sequence[str]) -> str:
    lines = [
        f"{word} {choice}: {meaning}"
        for word in words
        for choice, meaning in POLICIES[word].items()
    ]
    return "\n        ".join([f"in {{ }}, choose {' and '.join(words)}:", *lines])


def _sender(context: Context, node: ast.Interventions) -> tuple[Applied, ...]:
    """What a path starts with: interventions, sites (patched whole), or subspaces."""
    if "then" in node.joints:
        way = "join what the path starts with by `+`"
        raise wrong("then-here", "`then` can't stand in the sender of a path", node.span, way)
    found: list[Applied] = []
    for part in node.parts:
        if isinstance(part, ast.Intervention):
            found += interventions(context, part)
            continue
        value = None if isinstance(part, ast.Chain) else context.value(part)
        if isinstance(part, ast.Chain) or isinstance(value, CheckedPath):
            raise wrong(
                "path-in-path",
                "a path can't be the sender of another one",
                part.span,
                "write one longer path: a -> b -> c -> logits",
            )
        if isinstance(value, Applied) and isinstance(value.type, SubspaceType):
            found.append(_along(context, value, part))
            continue
        for place in stage_places(context, part, "sends"):
            operands = {"site": Located(place, part.span)}
            found.append(build(context, Patch(), operands, part.span))
    return tuple(found)


def _along(context: Context, subspace: Applied, node: ast.Node) -> Applied:
    """Patch along a subspace where it was made."""
    place = subspace.home
    assert isinstance(subspace.type, SubspaceType)
    width = place.site.width(context.shapes(node.span)) if place else None
    if place is None or width != subspace.type.width:
        raise wrong(
            "no-home",
            f"`{show(node)}` does not say at which site it is to be patched",
            node.span,
            f"write patch SITE along {show(node)}",
        )
    operands = {"site": Located(place, node.span), "along": Located(subspace, node.span)}
    return build(context, Patch(), operands, node.span)


def _receivers(context: Context, node: ast.Expression) -> tuple[Place, ...]:
    places = stage_places(context, node, "receives")
    for place in places:
        if not place.site.word.receives:
            help = f"write {place.site.kind[:4]}in[{place.site.layer}]; " if _is_mlp(place) else ""
            raise wrong(
                "not-a-receiver",
                f"{place.site} can't receive: a path goes through what a component reads",
                node.span,
                help + _WAY,
            )
    return tuple(places)


def _is_mlp(place: Place) -> bool:
    return place.site.word.part == "mlp" and not place.site.is_virtual


def _check_order(
    senders: Sequence[Place], receivers: Sequence[Place], shapes: ModelDims, span: Span
) -> None:
    """Every receiver must be computed after some sender."""
    first = min(senders, key=lambda place: place.site.depth(shapes))
    sites = {place.site: None for place in senders}
    for receiver in receivers:
        if not any(site.before(receiver.site, shapes) for site in sites):
            raise wrong(
                "comes-before",
                f"{receiver.site} comes before {first.site}, or beside it, so nothing gets there",
                span,
                "let every stage of a path come after the one before it",
            )


def check_path_on(context: Context, path: CheckedPath, pairs: PairSet, use: Span) -> None:
    """Whether a path can be run on these pairs: its positions exist, and run left to right."""
    check_all_on(context, path.changes, pairs, use, use)
    before = [site_of(applied) for applied in path.sender]
    for hop in path.hops:
        # Many receivers stand at few positions, and only these matter here.
        for receiver in {place.position: place for place in reversed(hop)}.values():
            check_place(context, receiver, pairs, use, both=False)
            if not _right_of(before, receiver, pairs):
                raise wrong(
                    "comes-before",
                    f"{receiver} comes before {before[0]} in every prompt, so nothing gets there",
                    use,
                    "information only moves to the right",
                )
        before = list({place.position: place for place in reversed(hop)}.values())


def _right_of(senders: Sequence[Place], receiver: Place, pairs: PairSet) -> bool:
    """Whether, in some prompt, a receiver is not left of every sender."""

    def at(place: Place, row: int) -> list[int]:
        assert place.position is not None
        return place.position.resolve(pairs.pairs[row].base)

    return any(
        max(at(receiver, row)) >= min(min(at(sender, row)) for sender in senders)
        for row in range(len(pairs))
    )
