"""How long what goes through the model together takes on a machine.

F FLOPs in c calls of r rows and b blocks each take::

    seconds = F / (SHARE rate(r)) + c b block            block three times in a training step
"""

from __future__ import annotations

from collections.abc import Iterable

from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.chunks import CONE_TOKENS
from causaldsl.plan.machine import Machine
from causaldsl.plan.work import Pass, Work

SHARE = 0.7
"""The share of a product's rate that passes reach (docs/performance.md has 49% to 98%)."""
_TRAINED = 3
"""Calls of a block in a training step: forward, and about twice that backward."""
_HOOKED = 4
"""Calls that a block with hooks around it is worth."""


def seconds_of(graph: Graph, work: Work, shapes: ModelDims, machine: Machine) -> float:
    """The time of what goes through the model together."""
    rows = float(sum(_rows(work, one) for one in work.passes))
    blocks = max(one.blocks for one in work.passes)
    calls, each = max(one.times for one in work.passes), machine.block
    if work.epochs:
        calls, rows = _steps(graph, work), _batch(graph, work)
        each *= _TRAINED
    elif work.backend == "hooks":
        each *= _HOOKED
    calls = max(1.0, calls) * max(1.0, rows / CONE_TOKENS)
    rows = min(CONE_TOKENS, max(1.0, rows))
    return work.flops / (SHARE * machine.rate(rows)) + calls * blocks * each


def _rows(work: Work, one: Pass) -> int:
    """Positions of a pass that go through the model together with those of the others."""
    if one.entry.layer < 0 and work.shared is not None:
        return work.shared.computed
    return work.rows * one.window


def _trainings(graph: Graph, work: Work) -> Iterable[tuple[Operation, int]]:
    for key in work.members:
        operation = graph.operation(key)
        training = operation.word.training(1)
        if training is not None:
            yield operation, training.batch


def _batch(graph: Graph, work: Work) -> float:
    """Rows of one step of all that are trained together."""
    return sum(min(batch, work.rows) for _, batch in _trainings(graph, work))


def _steps(graph: Graph, work: Work) -> int:
    return max(
        (work.epochs * -(-work.rows // batch) for _, batch in _trainings(graph, work)), default=0
    )
