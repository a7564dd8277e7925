"""`trace`: one operation over the clean runs and the interventions that it follows."""

from __future__ import annotations

from causaldsl.check.values import CheckedTrace
from causaldsl.graph.compiler import Compiler, compiles
from causaldsl.graph.graph import Made
from causaldsl.graph.operations import Input, TraceWord
from causaldsl.vocabulary.base import SIDES


@compiles(CheckedTrace)
def trace(compiler: Compiler, trace: CheckedTrace) -> Made:
    sides = [Input(role=side, key=compiler.clean_run(trace.pairs, side)) for side in SIDES]
    word = TraceWord(
        metric=trace.metric,
        heads=trace.heads,
        mlps=trace.mlps,
        top=trace.top,
        positions=trace.positions,
    )
    inputs = [*sides, *compiler.does(trace.interventions, trace.pairs)]
    return Made("trace", compiler.add(word, inputs, trace.span))
