"""`measure` and `sweep`: metrics over the runs of all arms."""

from __future__ import annotations

from causaldsl.check.values import Measurement
from causaldsl.graph.compiler import Compiler, compiles
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import MeasureWord, inputs_of


@compiles(Measurement)
def measurement(compiler: Compiler, measurement: Measurement) -> Made:
    runs = compiler.runs(measurement.runs, measurement.pairs)
    word = MeasureWord(metrics=measurement.metrics)
    return Made("measure", compiler.add(word, inputs_of(runs), measurement.span), runs)
