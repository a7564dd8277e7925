"""What an `attribution` statement stands for: sites, and a sample of them that is measured too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from causaldsl.check.edges import EdgeValue
from causaldsl.check.kinds import Value
from causaldsl.check.measurements import Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.values import Applied, constant
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.model.edges import Edge, count_before, receivers, senders
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.vocabulary.attributions import NUMBERS, Integrated
from causaldsl.vocabulary.attributions import AttributionNumber as Number
from causaldsl.vocabulary.types import NumberType


@dataclass(frozen=True)
class Node:
    """One thing that has an estimate: a site at positions, a neuron of it, or one feature."""

    place: Place
    neuron: int | None = None

    def __str__(self) -> str:
        whole = self.place.position is None or self.place.position.whole
        name = str(self.place.site) if whole else str(self.place)
        return name if self.neuron is None else f"{name} neuron {self.neuron}"


@dataclass(frozen=True)
class CheckedAttribution(Value):
    """Sites on pairs, whose effects on a metric are estimated; or edges, where there are senders.

    ``places`` have positions; one that is written without has all of them. ``runs`` measure a
    sample exactly, those of the nodes ``drawn``, each under its name. ``text`` is what stands in
    the braces.
    """

    kind = "an attribution"
    compiled = True
    can_plot = True
    way_out = "write {}.rank_correlation, or measure what top(10, {}) gives: estimates are no proof"
    name: str
    pairs: PairSet
    metric: str
    places: tuple[Place, ...]
    shapes: ModelDims = field(repr=False)
    steps: int = 1
    integrate: Integrated = "inputs"
    neurons: bool = False
    senders: tuple[Site, ...] = ()
    receivers: tuple[Site, ...] = ()
    drawn: tuple[int, ...] = ()
    runs: tuple[Run, ...] = ()
    text: str = ""
    span: Span = field(compare=False, repr=False, default=None)  # type: ignore[assignment]

    @cached_property
    def nodes(self) -> tuple[Node | Edge, ...]:
        """All that have an estimate: in the order of the places, or by receiver and by sender."""
        if self.senders:
            return edges_of(self.senders, self.receivers, self.shapes)
        return nodes_of(self.places, self.neurons, self.shapes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, self.nodes))

    @property
    def what(self) -> Literal["sites", "neurons", "features", "edges"]:
        """What its nodes are; of several kinds, sites."""
        if self.senders:
            return "edges"
        if self.neurons:
            return "neurons"
        features = [place.site.dictionary is not None for place in self.places]
        return "features" if all(features) else "sites"

    @property
    def numbered(self) -> bool:
        """Whether some of its nodes are neurons or features."""
        return self.neurons or any(place.site.dictionary is not None for place in self.places)

    def members(self, span: Span) -> list[Any]:
        """Each of the nodes as a member of a set: a site, without a position where it has all; of a
        site's neurons or features, their numbers; or an edge."""
        return [self._member(node, span) for node in self.nodes]

    def _member(self, node: Node | Edge, span: Span) -> Any:
        if isinstance(node, Edge):
            return EdgeValue(node, span)
        if node.neuron is not None:
            return constant(float(node.neuron), span)
        if node.place.site.numbers is not None:
            return constant(float(node.place.site.numbers[0]), span)
        position = node.place.position
        whole = position is not None and position.whole
        return replace(node.place, position=None if whole else position, span=span)

    def check_divisor(self, span: Span, metric: str | None = None) -> None:
        raise wrong("no-part", "estimates are shown as they are, relative to no number", span)

    def part(self, node: ast.Attribute) -> Applied:
        """`found.rank_correlation`."""
        name = node.name.text
        if name not in NUMBERS:
            raise wrong(
                "no-part",
                f"attribution `{self.name}` has no number `{name}`",
                node.name.span,
                suggest(name, NUMBERS, "numbers")
                + "; its estimates are no proof: measure what top(10, ..) of it gives",
            )
        if not self.runs:
            raise wrong(
                "not-checked",
                f"attribution `{self.name}` measures nothing exactly, so it has no `{name}`",
                node.name.span,
                "write `check 20` in its braces",
            )
        word = Number(name=name)
        return Applied(word, (("attribution", self),), NumberType(), node.name.span)


def edges_of(
    senders: Sequence[Site], receivers: Sequence[Site], shapes: ModelDims
) -> tuple[Edge, ...]:
    """The edges from some components to what others read, both in the order of the forward pass."""
    return tuple(
        Edge(sender, receiver)
        for receiver in receivers
        for sender in senders[: count_before(senders, receiver, shapes)]
    )


def ends_of(sites: Sequence[Site], shapes: ModelDims) -> tuple[list[Site], list[Site]]:
    """Senders and receivers of these heads (by their z) and MLPs (by their outputs).

    The embedding sends too, and the logits receive. A key or value that heads share receives if one
    of them is there.
    """
    there, group = set(sites), shapes.n_heads // shapes.n_kv_heads

    def receives(site: Site) -> bool:
        if site.kind == "mlp_in":
            return site.of_layer("mlp_out") in there
        if site.head is None:
            return True
        shared = site.kind.startswith("kv_head")
        heads = range(site.head * group, (site.head + 1) * group) if shared else [site.head]
        return any(site.of_layer("head.z", head) in there for head in heads)

    sends = [site for site in senders(shapes) if site in there or site.kind == "embed"]
    return sends, [site for site in receivers(shapes) if receives(site)]


def nodes_of(places: Sequence[Place], neurons: bool, shapes: ModelDims) -> tuple[Node, ...]:
    """What has an estimate at some places: of a dictionary each feature, on its own."""
    found: list[Node] = []
    for place in places:
        site, width = place.site, place.site.width(shapes)
        if site.dictionary is not None:
            numbers = site.numbers or range(site.dictionary.form.features)
            found += [Node(replace(place, site=replace(site, numbers=(i,)))) for i in numbers]
        elif neurons and site.kind == "mlp_hidden" and width is not None:
            found += [Node(place, i) for i in range(width)]
        else:
            found.append(Node(place))
    return tuple(found)


def sampled(names: list[str], count: int) -> list[int]:
    """The indices of ``count`` of some names, drawn by their hashes: the same on every machine.

    >>> sampled(["a", "b", "c"], 2) == sampled(["a", "b", "c"], 2)
    True
    """
    drawn = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).digest())
    return sorted(drawn[:count])
