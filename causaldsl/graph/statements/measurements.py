"""`measure` and `sweep`: metrics over the runs of all arms."""

from __future__ import annotations

from causaldsl.check.circuits import empty_circuits
from causaldsl.check.measurements import Measurement
from causaldsl.check.spelled import spelled_out
from causaldsl.graph.compiler import Compiler, compiles
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import NOTHING_OF, SOURCES, MeasureWord, inputs_of


@compiles(Measurement)
def measurement(compiler: Compiler, measurement: Measurement) -> Made:
    pairs = spelled_out(measurement.pairs)
    runs = compiler.runs(measurement.runs, pairs)
    known = compiler.graph.vocabulary.metrics
    origins = [(metric, known[metric].origin) for metric in measurement.metrics]
    said = tuple(f"{metric}: {origin}" for metric, origin in origins if origin)
    word = MeasureWord(metrics=measurement.metrics, origins=said)
    inputs = dict(runs)
    if any(known[metric].of_source for metric in measurement.metrics):
        inputs[SOURCES] = compiler.clean_run(pairs, "source")
    if any(known[metric].of_empty for metric in measurement.metrics):
        empty = compiler.runs(empty_circuits(measurement.runs), pairs)
        inputs |= {f"{NOTHING_OF}{name}": key for name, key in empty.items()}
    return Made("measure", compiler.add(word, inputs_of(inputs), measurement.span), runs)
