"""What an `attribution` statement stands for: sites, and a sample of them that is measured too."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from causaldsl.check.kinds import Value
from causaldsl.check.pairs import PairSet
from causaldsl.check.places import Place
from causaldsl.check.values import Applied, Run, constant
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.syntax import ast
from causaldsl.vocabulary.attributions import NUMBERS, Integrated
from causaldsl.vocabulary.attributions import AttributionNumber as Number
from causaldsl.vocabulary.types import NumberType


@dataclass(frozen=True)
class Node:
    """One thing that has an estimate: a site at positions, or a neuron of it."""

    place: Place
    neuron: int | None = None

    def __str__(self) -> str:
        whole = self.place.position is None or self.place.position.whole
        name = str(self.place.site) if whole else str(self.place)
        return name if self.neuron is None else f"{name} neuron {self.neuron}"


@dataclass(frozen=True)
class CheckedAttribution(Value):
    """Sites on pairs, whose effects on a metric are estimated.

    ``places`` have positions; one that is written without has all of them. ``runs`` measure a
    sample exactly, those of the nodes ``drawn``, each under its name. ``text`` is what the braces say.
    """

    kind = "an attribution"
    compiled = True
    way_out = "write {}.rank_correlation, or measure what top(10, {}) gives: estimates are no proof"
    name: str
    pairs: PairSet
    metric: str
    places: tuple[Place, ...]
    shapes: ModelDims = field(repr=False)
    steps: int = 1
    integrate: Integrated = "inputs"
    neurons: bool = False
    drawn: tuple[int, ...] = ()
    runs: tuple[Run, ...] = ()
    text: str = ""
    span: Span = field(compare=False, repr=False, default=None)  # type: ignore[assignment]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All that have an estimate, in the order of the places."""
        return nodes_of(self.places, self.neurons, self.shapes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, self.nodes))

    def members(self, span: Span) -> list[Any]:
        """Each of the nodes as a member of a set: a site, without a position where it has all; of a
        site's neurons, their numbers."""
        if self.neurons:
            return [constant(float(node.neuron or 0), span) for node in self.nodes]
        places = [node.place for node in self.nodes]
        everywhere = [p.position is not None and p.position.whole for p in places]
        return [
            replace(place, position=None if whole else place.position, span=span)
            for place, whole in zip(places, everywhere, strict=True)
        ]

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


def nodes_of(
    places: tuple[Place, ...], neurons: bool, shapes: ModelDims
) -> tuple[Node, ...]:
    found: list[Node] = []
    for place in places:
        width = place.site.width(shapes)
        if neurons and place.site.kind == "mlp_hidden" and width is not None:
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
