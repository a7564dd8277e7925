"""The nodes of a circuit: heads by their z, MLPs by their outputs, attention layers, `embed`."""

from __future__ import annotations

from causaldsl.check.context import Context
from causaldsl.check.edges import EdgeValue
from causaldsl.check.kinds import describe
from causaldsl.check.parts import Node, nodes_in
from causaldsl.check.places import HeadValue, Place
from causaldsl.check.sets import Members, of_one, sites
from causaldsl.diagnostics import wrong
from causaldsl.model.edges import all_edges, without_edges
from causaldsl.syntax import ast
from causaldsl.syntax.format import show

KINDS = {"embed": "embed", "head.z": "heads", "attn_out": "attn_out", "mlp_out": "mlps"}
"""The kinds of sites that are nodes of a circuit, and how all of a kind are written."""
EDGES = "edges"
"""The word that stands for all edges of the model."""


def members_of(context: Context, node: ast.Expression) -> Members:
    """The set that a circuit is, or that it is drawn from."""
    shapes = context.shapes(node.span)
    value = of_one(context.value(node), shapes)
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
    return tuple(_checked(one, node) for one in nodes_in(members, node.span))


def _checked(one: Node, node: ast.Node) -> Place:
    if isinstance(one, HeadValue):
        message = f"key-value heads, in `{show(node)}`, are no nodes of a circuit"
        way = "name the query heads that share them, such as 1.2"
        raise wrong("not-a-circuit", message, node.span, way)
    if one.site.kind not in KINDS:
        raise wrong(
            "not-a-circuit",
            f"{one.site} is no node of a circuit",
            node.span,
            "nodes are heads, mlps, attn_out[l], embed and their sets",
        )
    return one


def all_edges_of(context: Context, node: ast.Name) -> Members:
    """All edges of the model."""
    shapes = context.shapes(node.span)
    why = without_edges(shapes)
    if why:
        raise wrong("no-edges", why, node.span, "use a circuit of nodes: heads, mlps")
    found = tuple(EdgeValue(edge, node.span) for edge in all_edges(shapes))
    return Members("edges", found, shapes)
