"""A circuit as a picture: its nodes by layer from left to right, and its edges, if it is of edges.

Layers of a circuit of nodes, which nothing joins, stand in rows.

Heads are ellipses and MLPs boxes; what a head reads along an edge stands on it, as q, k or v.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from causaldsl.results.routes import CircuitRecord
from causaldsl.shown import visible

MOST = 150
"""Parts of a circuit that are drawn; more would be a black spot."""
_IN_A_ROW = 8
"""Layers beside one another where no edges join them; further ones begin another row."""
_NODE = re.compile(r"(?:(?:kv_)?head\[(\d+)\.(\d+)\]|(?:mlp_out|mlp_in|attn_out)\[(\d+)\])")
_EDGE = re.compile(r"edge\((.+), (.+)\)")


def circuit_dot(record: CircuitRecord, name: str, model: str) -> str:
    """DOT source; equal records give equal bytes."""
    import graphviz

    font = {"fontname": "Helvetica"}
    caption = (
        f"{name}: {record.size} of {record.universe} ({record.over}), outside {record.outside}; "
        f"{model}"
    )
    picture = graphviz.Digraph(
        graph_attr=font
        | {"label": graphviz.escape(visible(caption)), "fontsize": "12", "rankdir": "LR"}
        | {"nodesep": "0.12", "ranksep": "0.4"},
        node_attr=font | {"fontsize": "10", "margin": "0.08,0.04"},
        edge_attr=font | {"fontsize": "8", "color": "#444444", "arrowsize": "0.6"},
    )
    ends = [match.groups() for part in record.parts if (match := _EDGE.fullmatch(part))]
    sites = [site for pair in ends for site in pair] or record.parts
    by_layer: dict[float, dict[str, str]] = defaultdict(dict)
    for site in sites:
        layer, node = _placed(site)
        by_layer[layer][node] = "box" if node.startswith(("m", "a")) else "ellipse"
    layers = sorted(by_layer)
    if ends or len(layers) <= _IN_A_ROW:
        _row(picture, layers, by_layer)
    else:  # the first row is the last here: graphviz stacks them upwards
        for start in reversed(range(0, len(layers), _IN_A_ROW)):
            box = {"color": "#dddddd", "label": ""}
            with picture.subgraph(name=f"cluster_{start}", graph_attr=box) as row:
                _row(row, layers[start : start + _IN_A_ROW], by_layer)
    for sender, receiver in ends:
        part = receiver.rpartition("].")[2] if "]." in receiver else ""
        picture.edge(_placed(sender)[1], _placed(receiver)[1], part)
    return str(picture.source)


def _row(picture: Any, layers: list[float], nodes: Mapping[float, Mapping[str, str]]) -> None:
    """Layers from left to right, with the shapes of their ``nodes``."""
    for layer in layers:
        with picture.subgraph(graph_attr={"rank": "same"}) as same:
            for node, shape in sorted(nodes[layer].items(), key=lambda item: _order(item[0])):
                same.node(node, shape=shape)
    for before, after in itertools.pairwise(layers):
        first, second = (min(nodes[layer], key=_order) for layer in (before, after))
        picture.edge(first, second, style="invis")


def _placed(site: str) -> tuple[float, str]:
    """Where a site stands, by layer, and what its node is called: `9.1`, `mlp 3`, `embed`."""
    site = site.partition(" @ ")[0]
    match = _NODE.match(site)
    if match is None:
        return (-1.0, site) if site == "embed" else (float("inf"), site)
    if match[3] is not None:
        kind = "attn" if site.startswith("attn") else "mlp"
        return int(match[3]) + (0.0 if kind == "attn" else 0.5), f"{kind} {match[3]}"
    shared = "kv " if site.startswith("kv") else ""
    return float(match[1]), f"{shared}{match[1]}.{match[2]}"


def _order(node: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", node)]
