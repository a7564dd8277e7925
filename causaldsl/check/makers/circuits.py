"""`edge`, `read_circuit` and `random_like`: edges, and sets of them or of nodes."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from causaldsl.check.circuit_files import members_in
from causaldsl.check.context import Context, Operands, makes
from causaldsl.check.edges import EdgeValue
from causaldsl.check.nodes import KINDS, nodes_of
from causaldsl.check.places import Place
from causaldsl.check.sets import Members
from causaldsl.diagnostics import Mistake, Span
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
    found = members_in(context.path(written), written, context.shapes(span), span)
    what = "edge" if found.of == "edges" else "node"
    count = f"{len(found.members)} {what}{'s' * (len(found.members) != 1)}"
    said = f"{written}: a circuit of {count}"
    if said not in context.program.readings:
        context.program.readings.append(said)
    return found


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
        mine, every = [member.edge for member in members.members], all_edges(shapes)
        kind = partial(_kind_of_edge, by_layer=by_layer)
        drawn = _drawn(mine, every, kind, chance, known)
        if known:
            kept = _kept(mine, every, _kind_of_edge, by_layer)
            names = [f"edges from {e.sender.kind} to {e.receiver.kind}" for e in kept]
            _tell_of_kept(context, word, names, span)
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
    whole = list(all_sites(shapes))
    found = _drawn(sites, whole, partial(_kind, by_layer=by_layer), chance, known)
    if known:
        kinds = [KINDS[site.kind] for site in _kept(sites, whole, _kind, by_layer)]
        _tell_of_kept(context, word, kinds, span)
    places = tuple(Place(s, positions[0], span) for s in found)
    return Members("sites", places, shapes, among=members.among)


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


def _tell_of_kept(context: Context, word: RandomLike, kept: Sequence[str], span: Span) -> None:
    """Say what no draw changes. In a run, which knows a set that it chose, it is a note."""
    if not kept:
        return
    where = "in their layers" if word.by == "layer" else "in the model"
    message = (
        f"whatever is drawn has the same {' and '.join(kept)} as `{span.text}`, which has all that "
        f"there are {where}"
    )
    if context.program.chosen:
        said = f"random_like: {message}"
        if said not in context.program.readings:
            context.program.readings.append(said)
        return
    way = "leave out `by: layer`, or " if word.by == "layer" else ""
    way += "draw like a set without them, and compare it with the circuit without them"
    context.warn("control-keeps", message, span, way)


def _kept(like: Sequence[T], of: Sequence[T], kind: Callable[..., Any], by_layer: bool) -> list[T]:
    """A part of each kind whose parts every draw has in common with the set that it is like.

    What the model has one of, such as the embedding, goes without saying.
    """
    there, taken = (Counter(kind(one, by_layer=by_layer) for one in ones) for ones in (of, like))
    everywhere = Counter(kind(one, by_layer=False) for one in of)
    first: dict[Any, T] = {}
    free = set()
    for one in like:
        name, fine = kind(one, by_layer=False), kind(one, by_layer=by_layer)
        first.setdefault(name, one)
        if taken[fine] < there[fine] or everywhere[name] == 1:
            free.add(name)
    return [one for name, one in first.items() if name not in free]


def _kind(site: Site, by_layer: bool) -> tuple[Any, ...]:
    return site.kind, site.layer if by_layer else 0


def _kind_of_edge(edge: Edge, by_layer: bool) -> tuple[Any, ...]:
    return _kind(edge.sender, by_layer), _kind(edge.receiver, by_layer)
