"""Attributions, and the numbers read off them."""

from __future__ import annotations

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.attribution.edges import edge_estimates
from causaldsl.engine.attribution.found import Attributed, exact_effects, rounding_of
from causaldsl.engine.attribution.nodes import node_estimates
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.graph.operations import ARM
from causaldsl.vocabulary.attributions import AttributionNumber, AttributionWord


@evaluates(AttributionWord)
def attribution(here: Here[AttributionWord]) -> Attributed:
    session, metric = here.session, here.word.metric
    here.say_if_rounded()
    runs = {
        one.role.removeprefix(ARM): session.values[one.key].columns[metric]
        for one in here.operation.inputs
        if one.role.startswith(ARM)
    }
    clean = session.values[here.operation.input("base")].columns[metric].double()
    estimates = edge_estimates(here) if here.word.senders else node_estimates(here)
    if not bool(estimates.isfinite().all()):
        raise RunFailure(
            f"an estimate of the change of {metric} is no finite number",
            "run it in --dtype float32 or float64, or attribute to another metric",
        )
    return Attributed(
        estimates,
        exact_effects(runs, clean),
        here.word.drawn,
        clean,
        session.bootstrap(here.pairs),
        rounding_of(clean, session),
    )


@evaluates(AttributionNumber)
def attribution_number(here: Here[AttributionNumber], attribution: Attributed) -> float:
    """A number with its draws, or the reason for which there is none."""
    return attribution.rank_correlation
