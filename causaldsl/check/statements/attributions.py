"""`attribution`: the sites whose effects are estimated, and the sample that is measured exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from causaldsl.check.agreement import check_place
from causaldsl.check.answered import check_metrics
from causaldsl.check.apply import build, each_once
from causaldsl.check.attributed import (
    CheckedAttribution,
    Node,
    edges_of,
    ends_of,
    nodes_of,
    sampled,
)
from causaldsl.check.cautions import warn_of_gradients
from causaldsl.check.context import Context, Located, checks
from causaldsl.check.measurements import Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place, Point, PositionRef
from causaldsl.check.sets import Members, of_one, sites_of
from causaldsl.check.stages import all_of, check_sites
from causaldsl.check.values import CheckedPath
from causaldsl.diagnostics import Span, located, suggest, wrong
from causaldsl.model.edges import Edge, without_edges
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.attributions import ATTRIBUTED, INTEGRATED, STEPS
from causaldsl.vocabulary.foreign import word_meant
from causaldsl.vocabulary.interventions import Patch
from causaldsl.vocabulary.sites import SITE_WORDS, listed
from causaldsl.vocabulary.subspaces import Neurons

_ALL = PositionRef(Point("all", 0))
_FEWEST = 3
"""The fewest that have a rank correlation."""
_WORDS = {
    ast.Edges: "edges",
    ast.Steps: "steps",
    ast.Integrate: "integrate",
    ast.SplitBy: "by",
    ast.CheckSample: "check",
}


@checks(ast.Attribution, experiment=True)
def attribution(context: Context, node: ast.Attribution) -> CheckedAttribution:
    pairs = context.pair_set(node.pairs, asked="nothing")
    shapes = context.components(node.span, "to attribute to")
    warn_of_gradients(context, f"`{node.name.text}`", node.span)
    _check_metric(context, node.metric, pairs)
    if not pairs.paired:
        raise wrong(
            "no-source",
            f"`attribution` takes activations of sources, and `{pairs.name}` has only bases",
            node.pairs.span,
            "use pairs with a source",
        )
    items = each_once(node.items, _WORDS)
    neurons = _by_neuron(items.get(ast.SplitBy))
    places = _places(context, node.over, node, shapes)
    if neurons and not any(place.site.kind == "mlp_hidden" for place in places):
        raise wrong(
            "no-neurons",
            "nothing here has neurons",
            items[ast.SplitBy].span,
            "write over mlp_hidden[layers]",
        )
    steps, integrate = _steps(context, items, pairs)
    senders, receivers = _edges(items, places, shapes)
    _check_places(context, places, pairs)
    nodes: Sequence[Node | Edge] = nodes_of(places, neurons, shapes)
    if senders:
        nodes = edges_of(senders, receivers, shapes)
    drawn: tuple[int, ...] = ()
    runs: tuple[Run, ...] = ()
    if ast.CheckSample in items:
        sample = items[ast.CheckSample]
        drawn = _drawn(context, sample, nodes)
        runs = tuple(_patch(context, nodes[i], sample.span) for i in drawn)
    return CheckedAttribution(
        name=node.name.text,
        pairs=pairs,
        metric=node.metric.text,
        places=places,
        shapes=shapes,
        steps=steps,
        integrate=integrate,
        neurons=neurons,
        senders=tuple(senders),
        receivers=tuple(receivers),
        drawn=drawn,
        runs=runs,
        text="  ".join(map(show, [*([node.over] if node.over else ()), *node.items])),
        span=node.span,
    )


def _check_metric(context: Context, metric: ast.Identifier, pairs: PairSet) -> None:
    known = context.words.metrics
    if metric.text not in known:
        context.scope.check_words()
        raise wrong(
            "unknown-metric",
            f"there is no metric `{metric.text}`",
            metric.span,
            word_meant(metric.text, ATTRIBUTED, "metrics"),
        )
    if metric.text not in ATTRIBUTED:
        raise wrong(
            "no-gradient",
            f"`{metric.text}` has no gradient in every pair, so nothing can be attributed to it",
            metric.span,
            f"attribute to {', '.join(ATTRIBUTED)}, and measure `{metric.text}` of what is found",
        )
    check_metrics(pairs, [known[metric.text]], known.values(), metric.span)


def _by_neuron(node: ast.SplitBy | None) -> bool:
    if node is not None and node.what.text != "neuron":
        raise wrong(
            "bad-option",
            f"an attribution can't be split by `{node.what.text}`",
            node.what.span,
            "write `by neuron`; positions stand behind the sites: heads.z @ {S2, END}",
        )
    return node is not None


def _places(
    context: Context, node: ast.Over | None, whole: ast.Node, shapes: ModelDims
) -> tuple[Place, ...]:
    """Every site, once, with its positions: all of them where none is written."""
    found: list[Place] = []
    seen: set[Node] = set()
    named: Sequence[ast.Expression] = node.sites if node else ()
    spans = [item.span for item in named]
    values = [_value(context, item) for item in named]
    nodes: Sequence[ast.Node] = named
    if not named:
        spans, nodes = [whole.span] * 2, [whole] * 2
        values = [all_of(context, word, whole.span) for word in ("heads", "mlps")]
    for value, item, span in zip(values, nodes, spans, strict=True):
        for place in sites_of(value, item, "sends"):
            check_sites([place], shapes, span)
            _check_site(place.site, span)
            at = place if place.position is not None else replace(place, position=_ALL)
            at = replace(at, span=span)
            for one in nodes_of([at], neurons=False, shapes=shapes):
                if one in seen:
                    raise wrong("listed-twice", f"{one} is listed twice", span, "list it once")
                seen.add(one)
            found.append(at)
    return tuple(found)


def _value(context: Context, node: ast.Expression) -> Any:
    """A set of heads, MLPs or sites, or a site."""
    value = of_one(context.value(node), context.shapes(node.span))
    if isinstance(value, Members):
        return value
    return context.as_place(value, node, positioned=False)


def _check_site(site: Site, span: Span) -> None:
    virtual = site.is_virtual and site.dictionary is None
    raw = "hook" in (site.kind, site.read.kind, site.written.kind)
    if not site.word.estimated or virtual or raw:
        raise _not_attributed(site, span)


_ESTIMATED = [word for word in SITE_WORDS.values() if word.estimated]


def _not_attributed(site: Site, span: Span) -> Exception:
    return wrong(
        "not-attributed",
        f"{site} can't be attributed to",
        span,
        f"attribute to {listed(_ESTIMATED)}, or the features of a dictionary there",
    )


def _steps(context: Context, items: dict[type, Any], pairs: PairSet) -> tuple[int, Any]:
    steps: ast.Steps | None = items.get(ast.Steps)
    integrate: ast.Integrate | None = items.get(ast.Integrate)
    count = 1
    if steps is not None:
        if not steps.count.is_integer or not 1 <= int(steps.count.text) <= STEPS:
            raise wrong(
                "bad-option",
                f"`steps {steps.count.text}` is no number of steps",
                steps.span,
                f"write a whole number from 1 to {STEPS}",
            )
        count = int(steps.count.text)
    what = "inputs" if integrate is None else integrate.what.text
    if integrate is not None and what not in INTEGRATED:
        raise wrong(
            "bad-option",
            f"an attribution can't integrate over `{what}`",
            integrate.what.span,
            suggest(what, INTEGRATED, "choices"),
        )
    if integrate is not None and count == 1:
        raise wrong(
            "one-step",
            "one step is the gradient of the base run: there is nothing to integrate over",
            integrate.span,
            f"add the number of steps: steps 5  integrate {what}",
        )
    if steps is not None and count > 1 and what == "inputs":
        _check_lengths(pairs, steps.span)
    return count, what


def _edges(
    items: dict[type, Any], places: Sequence[Place], shapes: ModelDims
) -> tuple[list[Site], list[Site]]:
    """The senders and receivers of the edges that are attributed to, if any are."""
    node, integrate = items.get(ast.Edges), items.get(ast.Integrate)
    if node is None:
        return [], []
    reason = without_edges(shapes)
    if reason:
        raise wrong("no-edges", reason, node.span, "leave out `edges`: attribute to its sites")
    for place in places:
        if place.site.kind not in ("head.z", "mlp_out"):
            raise wrong(
                "not-attributed",
                f"edges go between heads and MLPs, and {place.site} is neither",
                place.span,
                "write over heads, mlps",
            )
        if place.position != _ALL:
            raise wrong(
                "edge-position",
                "an edge is there at every position",
                place.span,
                "leave out `@` and what follows",
            )
    if integrate is not None and integrate.what.text == "activations":
        raise wrong(
            "edge-activations",
            "an edge has two ends, so moving the activations of one layer says nothing of it",
            integrate.span,
            "write `integrate inputs`",
        )
    return ends_of([place.site for place in places], shapes)


def _check_lengths(pairs: PairSet, span: Span) -> None:
    """Embeddings go from base to source token by token."""
    for pair in pairs.pairs:
        if pair.base.length != pair.source.length:
            raise wrong(
                "unequal-length",
                f"the embeddings of a base of {pair.base.length} tokens can't go to those of its "
                f"source of {pair.source.length}",
                span,
                f"base: {pair.base.text} / source: {pair.source.text}; use pairs of equal length, "
                "or `integrate activations`",
            )


def _check_places(context: Context, places: Sequence[Place], pairs: PairSet) -> None:
    """Positions are in every prompt, and as many in the source as in the base."""
    for place in {place.position: place for place in reversed(places)}.values():
        check_place(context, place, pairs, place.span)


def _drawn(
    context: Context, node: ast.CheckSample, nodes: Sequence[Node | Edge]
) -> tuple[int, ...]:
    """Which of the nodes are measured exactly."""
    count = int(node.count.text) if node.count.is_integer else 0
    if count < _FEWEST:
        raise wrong(
            "bad-option",
            f"`check {node.count.text}` is no number of exact effects",
            node.span,
            f"write a whole number from {_FEWEST} on: fewer have no rank correlation",
        )
    if len(nodes) < _FEWEST:
        raise wrong(
            "too-few-components",
            f"an attribution to {len(nodes)} has no rank correlation",
            node.span,
            f"it needs at least {_FEWEST}; measure these with `measure`",
        )
    names = [str(one) for one in nodes]
    with located(node.span):
        many = min(count, len(nodes))
        context.limits.check("cells", many, "sweep-size", "this measures {} effects")
    return tuple(sampled(names, many))


def _patch(context: Context, node: Node | Edge, span: Span) -> Run:
    if isinstance(node, Edge):
        return _patch_path(context, node, span)
    operands = {"site": Located(node.place, span)}
    label = f"patch {node.place}"
    if node.neuron is not None:
        one = build(context, Neurons(indices=(node.neuron,)), operands, span)
        operands |= {"along": Located(one, span)}
        label += f" along neuron {node.neuron}"
    return Run(str(node), (build(context, Patch(), operands, span),), label, (), span)


def _patch_path(context: Context, edge: Edge, span: Span) -> Run:
    """The path of an edge, with all else held."""
    first = Site("resid_pre", 0) if edge.sender.kind == "embed" else edge.sender
    sender = build(context, Patch(), {"site": Located(Place(first, _ALL, span), span)}, span)
    receivers = () if edge.receiver.kind == "logits" else ((Place(edge.receiver, _ALL, span),),)
    text = f"{edge.sender} @ all -> {edge.receiver} @ all -> logits"
    if not receivers:
        text = f"{edge.sender} @ all -> logits"
    text += " { freeze all  layernorm recompute }"
    path = CheckedPath((sender,), receivers, "all", "recompute", text, span)
    return Run(str(edge), (path,), text, (), span)
