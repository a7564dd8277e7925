"""The members of a set one by one: for a loop, for a circuit, and to take them out of another set.

Among sites, a head or an MLP without a part is a node, as it is in a circuit: a head's z, an MLP's
output. So `{23.0}` can be taken out of a set of sites that has head[23.0].z.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from causaldsl.check.places import HeadValue, Place
from causaldsl.check.sets import NUMBERED, Members, name_of, sites
from causaldsl.check.values import MlpNumber
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.model.sites import Site

Node: TypeAlias = "Place | HeadValue"
_OF_SITES = ("heads", "kv_heads", "mlps", "sites")
"""Kinds of sets whose members are sites, or can be."""


def nodes_in(members: Members, span: Span) -> list[Node]:
    """Each member as a node: a site, at no position unless one is written. A key-value head has no
    activation that would be its node, and stays what it is."""
    return [node for node, _ in _each(members, span)]


def _each(members: Members, span: Span) -> Iterator[tuple[Node, Any]]:
    """Each member as a node, and as a set of sites holds it."""
    for member in members.members:
        if isinstance(member, Members):
            yield from _each(member, span)
        elif isinstance(member, Place):
            yield member, member
        else:
            yield from _unnamed(members, member, span)


def _unnamed(members: Members, member: Any, span: Span) -> Iterator[tuple[Node, Any]]:
    """A head or an MLP without a part, at each position of its set."""
    alone = replace(members, members=(member,))
    if members.of == "kv_heads":
        yield replace(member, word="kv_head"), alone
        return
    head = isinstance(member, HeadValue)
    site = Site("head.z", member.layer, member.head) if head else None
    site = site or Site("mlp_out", int(member.number))
    with located(span):
        site.check(members.shapes)
    for position in members.positions or (None,):
        at = () if position is None else (position,)
        yield Place(site, position, span), replace(alone, positions=at)


def without(left: Members, right: Members, span: Span, known: bool = True) -> Members:
    """The members of one set that another one has not; these must all be there.

    Unless both are ``known`` before the run: then others stand for some of their members, and
    neither is a member missed nor may nothing be left.
    """
    as_nodes = left.of != right.of or "sites" in (left.of, right.of) or bool(right.positions)
    if as_nodes and {left.of, right.of} <= set(_OF_SITES) and not _written(left, right):
        kept = _nodes_left(left, right, span, known)
    else:
        kept = _named_left(left, right, span, known)
    if not kept.members and known:
        raise wrong("empty-set", "nothing is left of this set", span, "take out less")
    kept = kept if kept.members else replace(left, members=left.members[:1])
    return replace(kept, among=left.among.union(_kinds_in(left)))


def _kinds_in(members: Members) -> Iterator[str]:
    for member in members.members:
        if isinstance(member, Members):
            yield from _kinds_in(member)
        elif kind := kind_of(member):
            yield kind


def kind_of(member: Any) -> str:
    """The kind of site that a member is as a node; "" of one that is none."""
    if isinstance(member, HeadValue):
        return "" if member.word == "kv_head" else "head.z"
    if isinstance(member, MlpNumber):
        return "mlp_out"
    return member.site.kind if isinstance(member, Place) else ""


def _written(left: Members, right: Members) -> bool:
    """Whether key-value heads are taken out by their numbers alone: `kv_heads except {1.0}`."""
    return left.of == "kv_heads" and right.of == "heads" and not any(m.word for m in right.members)


def _named_left(left: Members, right: Members, span: Span, known: bool) -> Members:
    numbers = {left.of, right.of} <= NUMBERED
    if left.of != right.of and not (numbers or _written(left, right)):
        message = f"{right.kind} can't be taken out of {left.kind}"
        raise wrong("mixed-set", message, span, "both must be of one kind")
    gone = {name_of(member) for member in right.members}
    missing = gone - {name_of(member) for member in left.members}
    if missing and known:
        raise _missing(min(missing), span)
    kept = tuple(member for member in left.members if name_of(member) not in gone)
    return replace(left, members=kept)


def _nodes_left(left: Members, right: Members, span: Span, known: bool) -> Members:
    """A node without a position is taken out at all positions."""
    listed, gone = list(_each(left, span)), nodes_in(right, span)
    there = {key for node, _ in listed for key in _keys(node)}
    missing = next((node for node in gone if str_of(node) not in there), None)
    if missing is not None and known:
        raise _missing(str_of(missing), span)
    names = {str_of(node) for node in gone}
    kept = [own for node, own in listed if not names & set(_keys(node))]
    if left.of == "sites" or left.positions:
        return sites(kept, left.shapes)
    return replace(left, members=tuple(one for own in kept for one in own.members))


def _keys(node: Node) -> tuple[str, ...]:
    """What a node can be named by: itself, and without its position."""
    if isinstance(node, HeadValue) or node.position is None:
        return (str_of(node),)
    return str_of(node), str_of(replace(node, position=None))


def str_of(node: Node) -> str:
    """A node as messages name it, and no other one."""
    return f"kv_head[{node.layer}.{node.head}]" if isinstance(node, HeadValue) else str(node)


def _missing(name: str, span: Span) -> Exception:
    message = f"{name} is not in the set that it is taken out of"
    return wrong("not-a-member", message, span, "take out only what is there")
