"""The nodes of a circuit: heads by their z, MLPs by their outputs, attention layers, `embed`."""

from __future__ import annotations

from collections.abc import Iterator

from causaldsl.check.context import Context
from causaldsl.check.edges import EdgeValue
from causaldsl.check.kinds import describe
from causaldsl.check.places import HeadValue, Place, SiteOwner
from causaldsl.check.sets import Members, of_one_head, sites
from causaldsl.diagnostics import located, wrong
from causaldsl.model.edges import all_edges, without_edges
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show

NODES = ("embed", "head.z", "attn_out", "mlp_out")
"""The kinds of sites that are nodes of a circuit."""
EDGES = "edges"
"""The word that stands for all edges of the model."""


def members_of(context: Context, node: ast.Expression) -> Members:
    """The set that a circuit is, or that it is drawn from."""
    value = context.value(node)
    shapes = context.shapes(node.span)
    if isinstance(value, HeadValue | SiteOwner):
        value = of_one_head(value, shapes)
    if isinstance(value, Place):
        value = sites([value], shapes)
    if isinstance(value, EdgeValue):
        value = Members("edges", (value,), shapes)
    if isinstance(value, Members) and value.of in ("heads", "mlps", "sites", "edges"):
        return value
    raise wrong(
        "not-a-circuit",
        f"`{show(node)}` is {describe(value)}, no circuit",
        node.span,
        "a circuit is a set of heads, MLPs, `embed` or edges: {7.3, mlps[2]}, {edge(.., ..)}",
    )


def nodes_of(members: Members, node: ast.Node) -> tuple[Place, ...]:
    """The nodes that a set names, each a site that is one; a head is its z, an MLP its output."""
    return tuple(_nodes(members, node))


def _nodes(members: Members, node: ast.Node) -> Iterator[Place]:
    placed = members.positions or (None,)
    for member in members.members:
        if isinstance(member, Members):
            if member.of == "kv_heads":
                message = f"key-value heads, in `{show(node)}`, are no nodes of a circuit"
                way = "name the query heads that share them, such as 1.2"
                raise wrong("not-a-circuit", message, node.span, way)
            yield from _nodes(member, node)
            continue
        if isinstance(member, Place):
            if member.site.kind not in NODES:
                raise wrong(
                    "not-a-circuit",
                    f"{member.site} is no node of a circuit",
                    node.span,
                    "nodes are heads, mlps, attn_out[l], embed and their sets",
                )
            yield member
            continue
        head = isinstance(member, HeadValue)
        site = Site("head.z", member.layer, member.head) if head else None
        site = site or Site("mlp_out", int(member.number))
        with located(node.span):
            site.check(members.shapes)
        yield from (Place(site, position, node.span) for position in placed)


def all_edges_of(context: Context, node: ast.Name) -> Members:
    """All edges of the model."""
    shapes = context.shapes(node.span)
    why = without_edges(shapes)
    if why:
        raise wrong("no-edges", why, node.span, "use a circuit of nodes: heads, mlps")
    found = tuple(EdgeValue(edge, node.span) for edge in all_edges(shapes))
    return Members("edges", found, shapes)
