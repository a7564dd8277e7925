"""Circuits in files of EAP-IG and MIB: JSON with the nodes and edges of a graph.

A node is `input`, `a9.h1` (a head), `m3` (an MLP) or `logits`; an edge `a9.h1->a11.h2<q>`, with the
letter of what a head reads behind it, or `m3->logits`. Both map to ``in_graph``. That format gives
every query head keys and values of its own: heads that share them have equal edges to these.

A circuit of nodes is written with all edges among them, for those who run edges alone, and says
under a key of its own, which others pass over, of which kinds its nodes are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from causaldsl.diagnostics import Mistake
from causaldsl.model.edges import SENDERS, Edge, all_edges, senders
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site

_NODE = re.compile(
    r"input|logits|m(?P<mlp>0|[1-9]\d*)|a(?P<layer>0|[1-9]\d*)\.h(?P<head>0|[1-9]\d*)", re.ASCII
)
_FORM = 'a circuit file has "nodes" and "edges", as EAP-IG and MIB write them'
_OURS = "causaldsl"
"""The key under which a circuit of nodes says which kinds of nodes it is over."""


def read_circuit_file(path: Path, written: str, shapes: ModelDims) -> tuple[list[Site], list[Edge]]:
    """The nodes and the edges that are in a circuit; the input and the logits are no nodes of it.

    Of a circuit that was written as one of nodes there are these alone, unless other edges were
    taken out or put in since.

    Raises:
        Mistake: for a file that is none, or names what this model has not.
    """
    try:
        found = json.loads(path.read_text("utf-8"), object_pairs_hook=_once)
        if "nodes" not in found:
            raise Mistake("bad-file", f'{written} is no circuit: it has no "nodes"', _FORM)
        nodes, edges = found["nodes"], found.get("edges", {})
        over = _over(found)
        _check_model(found.get("cfg", {}), shapes, written)
        inside = {name: _in_graph(of) for name, of in nodes.items()}
        named = [name for name, there in inside.items() if there]
        joined = [name for name, of in edges.items() if _in_graph(of)]
        _check_whole(named, nodes, written)
        sites = {name: _site(name, shapes, written) for name in nodes}
        for name in edges:
            _ends(name, shapes, written)
    except FileNotFoundError:
        message = f"there is no file {written}"
        raise Mistake("missing-file", message, f"it was looked for at {path}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Mistake("bad-file", f"{written} is no circuit", _FORM) from None
    wired = _agreed([_ends(name, shapes, written) for name in joined], shapes, written)
    there = {sites[name] for name in named}
    if over and set(wired) == set(edges_among(there, shapes)):
        return [site for name in named if (site := sites[name]).kind in over], []
    kept = [site for name in named if (site := sites[name]).kind not in ("embed", "logits")]
    out = {site for name, site in sites.items() if not inside[name] and site.kind != "embed"}
    _check_ends(wired, out, shapes, written)
    return kept, wired


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the file, in which every name stands once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _over(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of the nodes, if the file says that it is of nodes."""
    over = found[_OURS]["over"] if _OURS in found else []
    if not set(over) <= set(SENDERS):
        raise TypeError("no kinds of nodes")
    return tuple(over)


def _in_graph(of: Any) -> bool:
    """A flag; anything else, such as the text "false", is none."""
    flag = of if isinstance(of, bool) else of["in_graph"]
    if flag not in (True, False):
        raise TypeError("no flag")
    return bool(flag)


def _check_model(cfg: Mapping[str, Any], shapes: ModelDims, written: str) -> None:
    """The model that the file says it is of has the layers and heads of this one."""
    mine = {"n_layers": shapes.n_layers, "n_heads": shapes.n_heads, "d_model": shapes.d_model}
    mine["parallel_attn_mlp"] = shapes.parallel
    for name, value in mine.items():
        if name in cfg and cfg[name] != value:
            message = f"{written} is of a model with {name} {cfg[name]!r:.20}, and {shapes.name} "
            raise Mistake("bad-file", f"{message}has {value}", "read the circuit of this model")


def _check_whole(named: Iterable[str], nodes: Mapping[str, Any], written: str) -> None:
    """A node that is in is in with all that it writes."""
    for name in named:
        kept = nodes[name].get("neurons", ()) if isinstance(nodes[name], dict) else ()
        if not all(kept):
            message = f"{written} has node `{name}` with some of its dimensions alone"
            raise Mistake("bad-file", message, "a circuit here has whole nodes and edges")


def _check_ends(edges: Iterable[Edge], out: set[Site], shapes: ModelDims, written: str) -> None:
    """Of an edge that is in, no end is out: EAP-IG would leave the edge out when it runs it.

    Of heads that share what the edge ends at, one is enough.
    """
    for edge in edges:
        ends = set(edge.receiver.outputs(shapes))
        if edge.sender in out or (ends and ends <= out):
            message = f"{written} has {edge} in the circuit, and one of its nodes out"
            raise Mistake("bad-file", message, "prune the graph before it is written")


def _site(name: str, shapes: ModelDims, written: str) -> Site:
    """The node of this name: what it writes, or the logits."""
    match = _NODE.fullmatch(name)
    if match is None:
        raise Mistake("no-such-node", f"{written} names a node `{name}`", "nodes are a9.h1 and m3")
    if name in ("input", "logits"):
        return Site("embed" if name == "input" else "logits")
    if match["mlp"]:
        site = Site("mlp_out", int(match["mlp"]))
    else:
        site = Site("head.z", int(match["layer"]), int(match["head"]))
    try:
        site.check(shapes)
    except Mistake as mistake:
        message = f"{written} names the node `{name}`, and {mistake.message}"
        raise Mistake("no-such-node", message, mistake.help) from None
    return site


def _ends(name: str, shapes: ModelDims, written: str) -> tuple[Edge, int | None]:
    """The edge of this name, and the query head that it is written for, where heads share."""
    match = re.fullmatch(r"(.+)->([^<]+)(?:<([qkv])>)?", name)
    if match is None:
        way = "edges are m0->m3, a9.h1->a11.h2<q> and a9.h1->logits"
        raise Mistake("no-such-node", f"{written} names an edge `{name}`", way)
    sender, end = (_site(part, shapes, written) for part in match.groups()[:2])
    if (end.kind == "head.z") != (match[3] is not None):
        way = "a letter says what a head reads, as in a11.h2<q>; m3 and logits have none"
        raise Mistake("no-such-node", f"{written} names an edge `{name}`", way)
    receiver, head = end, None
    if end.kind == "mlp_out":
        receiver = end.of_layer("mlp_in")
    elif end.kind == "head.z":
        assert end.head is not None
        part, group = match[3], shapes.n_heads // shapes.n_kv_heads
        shared = group > 1 and part != "q"
        head = end.head if shared else None
        place = end.head // group if shared else end.head
        receiver = end.of_layer(f"{'kv_head' if shared else 'head'}.{part}", place)
    edge = Edge(sender, receiver)
    try:
        edge.check(shapes)
    except Mistake as mistake:
        message = f"{written} has the edge `{name}`, and {mistake.message}"
        raise Mistake("no-such-node", message, mistake.help) from None
    return edge, head


def _agreed(
    found: Iterable[tuple[Edge, int | None]], shapes: ModelDims, written: str
) -> list[Edge]:
    """Every edge once. Those to shared keys and values must be there for all who share them."""
    heads: dict[Edge, set[int | None]] = {}
    for edge, head in found:
        heads.setdefault(edge, set()).add(head)
    group = shapes.n_heads // shapes.n_kv_heads
    for edge, named in heads.items():
        if None not in named and len(named) < group:
            raise Mistake(
                "shared-kv-head",
                f"{written} has {edge} for {len(named)} of the {group} heads that share "
                f"{edge.receiver}",
                f"in {shapes.name} these read one key and value: take the edge in for all, or out",
            )
    return list(heads)


def circuit_json(
    inside: Iterable[Site | Edge], shapes: ModelDims, over: Iterable[str] = ()
) -> dict[str, Any]:
    """A circuit as such a file has it; of nodes, with all edges among what keeps its own values.

    ``over`` are the kinds of sites that a circuit of nodes is over, by default those of its nodes.
    Nodes of other kinds keep their own values too. A circuit that has none of a kind which it is
    over can't be told by its nodes alone, and is one of edges to whoever reads it.
    """
    parts = list(inside)
    edges = [part for part in parts if isinstance(part, Edge)]
    nodes = {part for part in parts if isinstance(part, Site)}
    sent, ours = senders(shapes), {}
    if edges:
        nodes = {edge.sender for edge in edges} | {Site("embed")}
        nodes |= {one for edge in edges for one in edge.receiver.outputs(shapes)}
    else:
        kinds = {node.kind for node in nodes}
        all_kinds = kinds.union(over)
        nodes |= {site for site in sent if site.kind not in all_kinds}
        edges = edges_among(nodes, shapes)
        if kinds == all_kinds:
            ours = {_OURS: {"over": [kind for kind in SENDERS if kind in kinds]}}
    return {
        "cfg": {
            "n_layers": shapes.n_layers,
            "n_heads": shapes.n_heads,
            "parallel_attn_mlp": shapes.parallel,
            "d_model": shapes.d_model,
        },
        "nodes": _flags(sent, nodes),
        "edges": {
            name: {"score": 1.0, "in_graph": True}
            for edge in edges
            for name in _names(edge, shapes)
        },
        **ours,
    }


def edges_among(nodes: set[Site], shapes: ModelDims) -> list[Edge]:
    """All edges from some nodes to one another, and to the logits."""
    return [edge for edge in all_edges(shapes) if _among(edge, nodes, shapes)]


def _among(edge: Edge, nodes: set[Site], shapes: ModelDims) -> bool:
    ends = edge.receiver.outputs(shapes)
    return edge.sender in nodes and (not ends or any(end in nodes for end in ends))


def _flags(sent: Iterable[Site], nodes: set[Site]) -> Mapping[str, Any]:
    found = {_name(site): {"in_graph": site in nodes} for site in sent}
    return found | {"logits": {"in_graph": True}}


def _name(site: Site) -> str:
    if site.kind == "embed":
        return "input"
    return f"m{site.layer}" if site.head is None else f"a{site.layer}.h{site.head}"


def _names(edge: Edge, shapes: ModelDims) -> Iterator[str]:
    """What an edge is called there, once for each head that shares its receiver."""
    sender, receiver = _name(edge.sender), edge.receiver
    if receiver.kind == "logits":
        yield f"{sender}->logits"
    elif receiver.head is None:
        yield f"{sender}->m{receiver.layer}"
    else:
        for end in receiver.outputs(shapes):
            yield f"{sender}->{_name(end)}<{receiver.kind[-1]}>"
