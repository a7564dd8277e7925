"""Attributions: the largest estimates, and the sample with both numbers."""

from __future__ import annotations

from typing import Any

from causaldsl.check.attributed import CheckedAttribution, Node
from causaldsl.check.checked import CheckedProgram
from causaldsl.engine.attribution.found import Attributed
from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session
from causaldsl.model.edges import Edge
from causaldsl.results.routes import LISTED


@gathers("attributions")
def attributions(program: CheckedProgram, session: Session) -> dict[str, Any]:
    made = session.graph.of_kind("attribution")
    return {
        name: _attribution(program.attributions[name], session.values[one.key])
        for name, one in made.items()
    }


def _attribution(of: CheckedAttribution, found: Attributed) -> dict[str, Any]:
    listed = found.largest(LISTED)
    estimates = dict(zip(listed, found.intervals(listed), strict=True))
    drawn = dict(zip(found.drawn, found.exact_intervals(), strict=True))
    of_drawn = dict(zip(found.drawn, found.intervals(found.drawn), strict=True))
    clean = found.bootstrap.mean(found.clean)
    return {
        "metric": of.metric,
        "pairs": of.pairs.name,
        "n": clean.n,
        "n_pairs": len(of.pairs),
        "says": of.text,
        "steps": of.steps,
        "integrate": of.integrate if of.steps > 1 else "",
        "of": of.what,
        "count": len(of.nodes),
        "clean": clean.record(),
        "largest": [_node(of.nodes[i], each, drawn.get(i)) for i, each in estimates.items()],
        "drawn": [_node(of.nodes[i], of_drawn[i], each) for i, each in drawn.items()],
        **_correlation(found),
    }


def _correlation(found: Attributed) -> dict[str, Any]:
    """With its interval, cut to where a correlation can be, and what it leaves out."""
    if not found.drawn:
        return {}
    value, idle = found.rank_correlation, int((~found.moving).sum())
    if value.withheld:
        return {"idle": idle, "withheld": value.withheld}
    n = found.bootstrap.units.count
    low, high = value.interval() if n > 1 else (float(value), float(value))
    number = Estimate(float(value), n, max(-1.0, low), min(1.0, high))
    return {"idle": idle, "rank_correlation": number.record()}


def _node(of: Node | Edge, estimate: Estimate, exact: Estimate | None) -> dict[str, Any]:
    numbers = {
        "estimate": estimate.record(),
        "exact": None if exact is None else exact.record(),
    }
    if isinstance(of, Edge):
        ends = {"sender": str(of.sender), "receiver": str(of.receiver)}
        return {"name": str(of), **ends, **numbers}
    return {
        "name": str(of),
        "site": str(of.place.site),
        "layer": of.place.site.layer,
        "head": of.place.site.head,
        "position": str(of.place.position),
        "neuron": of.neuron,
        **numbers,
    }
