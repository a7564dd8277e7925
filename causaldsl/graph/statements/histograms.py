"""`histogram`: the projections of its arms, set by set."""

from __future__ import annotations

from causaldsl.check.measurements import Run
from causaldsl.check.pairs import PairSet
from causaldsl.check.values import Histogram, HistogramArm
from causaldsl.graph.compiler import Compiler, compiles, site_at
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import Input
from causaldsl.vocabulary.histograms import HistogramWord, Projection


@compiles(Histogram)
def histogram(compiler: Compiler, histogram: Histogram) -> Made:
    inputs = [
        projection
        for arm in histogram.arms
        for pairs in histogram.sets
        for projection in _projections(compiler, arm, pairs, histogram.by == "side")
    ]
    word = HistogramWord(by=histogram.by, classes=histogram.classes)
    return Made("histogram", compiler.add(word, inputs, histogram.span))


def _projections(compiler: Compiler, arm: HistogramArm, pairs: PairSet, sides: bool) -> list[Input]:
    """Projections of the bases, with the arm's interventions, and with ``sides`` of the sources."""
    edited = Run(arm.name, arm.interventions, arm.label, (), arm.span, arm.stages)
    runs = [compiler.run(edited, pairs)]
    runs += [compiler.clean_run(pairs, "source")] if sides else []
    along = Input(role="along", key=compiler.applied(arm.along))
    found = []
    for run in runs:
        inputs = [Input(role="run", key=run), along]
        key = compiler.add(Projection(), inputs, arm.span, at=site_at(arm.place))
        found.append(Input(role=arm.name, key=key))
    return found
