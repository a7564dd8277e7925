"""`edge`, `read_circuit` and `random_like`: edges, and sets of them or of nodes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from causaldsl.check.circuit_files import members_in
from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.edges import EdgeValue
from causaldsl.check.nodes import nodes_of
from causaldsl.check.places import Place
from causaldsl.check.sets import Members
from causaldsl.diagnostics import Mistake
from causaldsl.model.edges import Edge, all_edges
from causaldsl.model.sites import Site, all_sites
from causaldsl.syntax import ast
from causaldsl.vocabulary.circuits import EdgeWord, RandomLike, ReadCircuit

T = TypeVar("T")


@makes(EdgeWord)
def edge(context: Context, word: EdgeWord, operands: Operands) -> EdgeValue:
    sender, receiver = operands["sender"], operands["receiver"]
    found = Edge(sender.value, receiver.value)
    found.check(context.shapes(sender.span))
    return EdgeValue(found)


@makes(ReadCircuit)
def read_circuit(context: Context, word: ReadCircuit, operands: Operands) -> Members:
    written, span = operands["file"]
    return members_in(context.path(written), written, context.shapes(span), span)


@makes(RandomLike)
def random_like(context: Context, word: RandomLike, operands: Operands) -> Members:
    """As many of each kind, drawn from all of the model's in the order of the forward pass.

    A set that has all there are of each kind could only be drawn as itself, which is no control.
    """
    members, span = operands["set"]
    shapes, by_layer = members.shapes, word.by == "layer"
    chance = random.Random(f"random_like {word.seed}")
    known = not context.program.undecided  # else others may stand for what a run will choose
    if members.of == "edges":
        mine = [member.edge for member in members.members]
        kind = partial(_kind_of_edge, by_layer=by_layer)
        drawn = _drawn(mine, all_edges(shapes), kind, chance, known)
        return Members("edges", tuple(EdgeValue(one, span) for one in drawn), shapes)
    node = ast.Name(span, span.text)
    places = nodes_of(members, node)
    positions = tuple(dict.fromkeys(place.position for place in places))
    if len(positions) > 1:
        raise Mistake(
            "mixed-set",
            "a random set is like a circuit at one position, or at all",
            "leave out `@`, or name one position",
        )
    sites = [place.site for place in places]
    found = _drawn(sites, all_sites(shapes), partial(_kind, by_layer=by_layer), chance, known)
    return Members("sites", tuple(Place(s, positions[0], span) for s in found), shapes)


def _drawn(
    like: Iterable[T],
    of: Iterable[T],
    kind: Callable[[T], Any],
    chance: random.Random,
    known: bool,
) -> list[T]:
    """As many of each kind as there are in ``like``, in the order of what they are drawn from.

    Refused where that is all of each kind, if ``like`` is ``known`` before the run.
    """
    by_kind: dict[Any, list[T]] = defaultdict(list)
    for one in of:
        by_kind[kind(one)].append(one)
    wanted: dict[Any, int] = defaultdict(int)
    for one in like:
        wanted[kind(one)] += 1
    if known and wanted and all(wanted[name] == len(by_kind[name]) for name in wanted):
        raise Mistake(
            "nothing-random",
            "the set has all there are of each kind, so that a random one like it is itself",
            "draw like a smaller set, or, of `by: layer`, by kind",
        )
    chosen = {one for name in wanted for one in chance.sample(by_kind[name], wanted[name])}
    return [one for ones in by_kind.values() for one in ones if one in chosen]


def _kind(site: Site, by_layer: bool) -> tuple[Any, ...]:
    return site.kind, site.layer if by_layer else 0


def _kind_of_edge(edge: Edge, by_layer: bool) -> tuple[Any, ...]:
    return _kind(edge.sender, by_layer), _kind(edge.receiver, by_layer)
