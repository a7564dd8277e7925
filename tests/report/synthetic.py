"""Trace records of any size from a seeded generator: to look at pictures, not at models."""

from __future__ import annotations

import random

from causaldsl.results.numbers import Number
from causaldsl.results.routes import (
    ComparisonRecord,
    ComparisonRow,
    TraceEdge,
    TraceNode,
    TraceRecord,
)

N = 150
TOTAL = -1.7


def number(mean: float, spread: float = 0.06) -> Number:
    return Number(mean=mean, n=N, low=mean - spread, high=mean + spread)


def component(kind: str, layer: int, head: int | None, position: str, share: float) -> TraceNode:
    return TraceNode(
        id=f"{layer}.{head}@{position}" if kind == "head" else f"mlp{layer}@{position}",
        kind="head" if kind == "head" else "mlp",
        layer=layer,
        head=head,
        position=position,
        mediated=number(share * TOTAL),
        share=number(share),
    )


def trace(size: int, positions: tuple[str, ...] = ("END",), dormant: int = 2) -> TraceRecord:
    """A trace whose picture has ``size`` components beside the intervention and the logits.

    Args:
        dormant: how many of its shown edges are dormant.
    """
    draw = random.Random(f"{size} {positions} {dormant}")
    first, last = 20, 29
    places = [
        ("head", layer, head, position)
        for layer in range(first, last + 1)
        for head in range(9)
        for position in positions
    ]
    mlps = [("mlp", layer, None, p) for layer in range(first, last + 1) for p in positions]
    blocks = min(size // 3, len(mlps))
    chosen = draw.sample(places, size - blocks) + draw.sample(mlps, blocks)
    parts = [component(*place, share=draw.uniform(-0.2, 0.5) ** 2) for place in chosen]
    parts.sort(key=lambda node: (node.layer, node.kind == "mlp", node.head or 0, node.position))
    start = TraceNode(id="patch", kind="intervention", layer=first, position=positions[0])
    end = TraceNode(id="logits", kind="logits", position=positions[-1])
    nodes = [start, *parts, end]
    edges = [
        _edge(draw, sender, receiver, positions)
        for i, sender in enumerate(nodes)
        for receiver in nodes[i + 1 :]
        if _reaches(sender, receiver, positions)
    ]
    edges.sort(key=lambda edge: -abs(edge.share))
    return TraceRecord(
        does="patch mlp along v_mlp",
        metric="logit_diff",
        pairs="flip.test",
        n=N,
        n_pairs=N,
        positions=list(positions),
        policy="freeze all, layernorm recompute",
        clean=number(3.21),
        total=number(TOTAL),
        explained=number(0.83),
        nodes=nodes,
        edges=_chosen(edges, nodes, dormant),
        components=parts,
    )


def made_of(paths: list[tuple[str, str, float]]) -> TraceRecord:
    """A trace that shows these paths: sender, receiver, share; `22.1` is a head, `mlp22` an MLP."""
    names = dict.fromkeys(name for path in paths for name in path[:2] if name[0] in "m0123456789")
    parts = {}
    for name in names:
        kind = "mlp" if name.startswith("mlp") else "head"
        layer, _, head = name.removeprefix("mlp").partition(".")
        parts[name] = component(kind, int(layer), int(head) if head else None, "END", 0.1)
    start = TraceNode(id="patch", kind="intervention", layer=20, position="END")
    end = TraceNode(id="logits", kind="logits", position="END")
    every = {"patch": start, **parts, "logits": end}
    edges = [
        TraceEdge(
            sender=every[sender].id,
            receiver=every[receiver].id,
            effect=number(share * TOTAL),
            natural=number(share * TOTAL),
            share=share,
            natural_share=share,
            dormant=False,
            shown=True,
        )
        for sender, receiver, share in paths
    ]
    nodes = {"nodes": list(every.values()), "edges": edges, "components": list(parts.values())}
    return trace(12).model_copy(update=nodes)


def _reaches(sender: TraceNode, receiver: TraceNode, positions: tuple[str, ...]) -> bool:
    """Positions are read leftwards by heads only; the logits read the last."""
    if receiver.kind == "logits":
        return sender.position == positions[-1]
    here, there = positions.index(sender.position), positions.index(receiver.position)
    if here > there or (here != there and receiver.kind == "mlp"):
        return False
    stage = {"intervention": 0.4, "head": 0.0, "mlp": 0.5, "logits": 9.0}
    return (sender.layer or 0) + stage[sender.kind] < (receiver.layer or 0) + stage[receiver.kind]


def _edge(
    draw: random.Random, sender: TraceNode, receiver: TraceNode, positions: tuple[str, ...]
) -> TraceEdge:
    end = "intervention" in (sender.kind, receiver.kind) or receiver.kind == "logits"
    share = draw.gauss(0.0, 1.0) ** 3 * (0.06 if end else 0.02)
    share = max(-0.6, min(0.9, share))
    return TraceEdge(
        sender=sender.id,
        receiver=receiver.id,
        effect=number(share * TOTAL),
        natural=number(share * 0.8 * TOTAL),
        share=share,
        natural_share=share * 0.8,
        dormant=False,
        shown=False,
    )


def _chosen(edges: list[TraceEdge], nodes: list[TraceNode], dormant: int) -> list[TraceEdge]:
    """Show the strongest of all, and each node's strongest in and out; some of them dormant."""
    shown = {(edge.sender, edge.receiver) for edge in edges[: int(len(nodes) * 1.2)]}
    for node in nodes:
        for side in ("sender", "receiver"):
            mine = [edge for edge in edges if getattr(edge, side) == node.id]
            shown |= {(edge.sender, edge.receiver) for edge in mine[:1]}
    out = []
    for edge in edges:
        asleep = (edge.sender, edge.receiver) in shown and dormant > 0
        dormant -= asleep
        natural = 0.01 if asleep else edge.natural_share
        out.append(
            edge.model_copy(
                update={
                    "shown": (edge.sender, edge.receiver) in shown,
                    "dormant": asleep,
                    "asleep": "data" if asleep else "",
                    "natural_share": natural,
                    "natural": number(natural * TOTAL),
                }
            )
        )
    return out


def comparison(size: int) -> ComparisonRecord:
    """Two traces over ``size`` components that mostly agree."""
    draw = random.Random(size)
    rows = []
    for i in range(size):
        share = draw.uniform(-0.2, 0.6) ** 3
        rows.append(
            ComparisonRow(
                component=f"{20 + i // 3}.{i % 9}@END",
                left=number(share, 0.02),
                right=number(share + draw.gauss(0, 0.04), 0.03),
            )
        )
    return ComparisonRecord(left="residual", right="mlp", rank_correlation=0.71, rows=rows)
