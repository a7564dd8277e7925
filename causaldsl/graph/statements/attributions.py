"""`attribution`: one operation over the clean runs, and the exact runs of its sample."""

from __future__ import annotations

from causaldsl.check.attributed import CheckedAttribution
from causaldsl.graph.compiler import Compiler, compiles, site_at
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import ARM, Input
from causaldsl.graph.whole import everywhere
from causaldsl.vocabulary.attributions import AttributionWord
from causaldsl.vocabulary.base import SIDES


@compiles(CheckedAttribution)
def attribution(compiler: Compiler, found: CheckedAttribution) -> Made:
    inputs = [Input(role=side, key=compiler.clean_run(found.pairs, side)) for side in SIDES]
    runs = compiler.runs(found.runs, found.pairs)
    inputs += [Input(role=ARM + name, key=key) for name, key in runs.items()]
    word = AttributionWord(
        metric=found.metric,
        steps=found.steps,
        integrate=found.integrate,
        neurons=found.neurons,
        drawn=found.drawn,
        senders=len(found.senders),
    )
    places = [site_at(place) for place in found.places]
    if found.senders:
        places = [everywhere(site) for site in (*found.senders, *found.receivers)]
    key = compiler.add(word, inputs, found.span, to=tuple(places))
    return Made("attribution", key, runs)
