"""Traces, and comparisons of two."""

from __future__ import annotations

from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.values import CheckedTrace
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session
from causaldsl.engine.tracing.trace import POLICY, Edge, Mediated, Traced, ends
from causaldsl.plan.components import Component
from causaldsl.vocabulary.traces import RankCorrelation


@gathers("traces")
def traces(program: CheckedProgram, session: Session) -> dict[str, Any]:
    found = {name: session.values[session.graph.key_of(name)] for name in program.traces}
    return {name: _trace(trace, found[name]) for name, trace in program.traces.items()}


@gathers("comparisons")
def comparisons(program: CheckedProgram, session: Session) -> dict[str, Any]:
    """Every named rank correlation of two traces, with what was correlated."""
    found = {}
    for name, applied in program.named.items():
        if isinstance(applied.word, RankCorrelation):
            sides = [applied.operand(side) for side in ("left", "right")]
            names = [side.name for side in sides if isinstance(side, CheckedTrace)]
            left, right = ((n, session.values[session.graph.key_of(n)]) for n in names)
            rho = session.values[session.graph.key_of(name)]
            found[name] = _comparison(left, right, rho)
    return found


def _trace(trace: CheckedTrace, found: Traced) -> dict[str, Any]:
    return {
        "does": trace.text,
        "metric": trace.metric,
        "pairs": trace.pairs.name,
        "n": found.total.n,
        "n_pairs": len(trace.pairs),
        "positions": list(trace.positions),
        "policy": POLICY,
        "clean": found.clean.record(),
        "total": found.total.record(),
        "explained": found.explained.record(),
        "nodes": [
            {"id": "patch", "kind": "intervention"},
            *(_node(component, found.mediated[component]) for component in found.top),
            {"id": "logits", "kind": "logits"},
        ],
        "edges": [_edge(edge) for edge in found.edges],
        "components": [_node(component, it) for component, it in found.mediated.items()],
    }


def _comparison(left: tuple[str, Traced], right: tuple[str, Traced], rho: float) -> Any:
    """Components that two traces share, those with the largest share in either first."""
    (left_name, first), (right_name, second) = left, right
    common = [name for name in first.by_name if name in second.by_name]

    def share(traced: Traced, name: str) -> Estimate:
        return traced.by_name[name].share

    common.sort(key=lambda n: -max(abs(share(t, n).mean) for t in (first, second)))
    return {
        "left": left_name,
        "right": right_name,
        "rank_correlation": rho,
        "rows": [
            {
                "component": name,
                "left": share(first, name).record(),
                "right": share(second, name).record(),
            }
            for name in common
        ],
    }


def _node(component: Component, mediated: Mediated) -> dict[str, Any]:
    is_mlp = component.head < 0
    return {
        "id": component.id,
        "kind": "mlp" if is_mlp else "head",
        "layer": component.layer,
        "head": None if is_mlp else component.head,
        "position": component.position,
        "mediated": mediated.effect.record(),
        "share": mediated.share.record(),
    }


def _edge(edge: Edge) -> dict[str, Any]:
    sender, receiver = ends(edge.sender, edge.receiver)
    return {
        "sender": sender,
        "receiver": receiver,
        "effect": edge.effect.record(),
        "natural": edge.natural.record(),
        "share": edge.share,
        "natural_share": edge.natural_share,
        "dormant": edge.dormant,
        "asleep": edge.asleep,
        "shown": edge.shown,
    }
