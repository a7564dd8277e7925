"""Runs a graph: every operation once, in the order of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from causaldsl.engine.answerable import answerable
from causaldsl.engine.declared import check_declared
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluator_of, together
from causaldsl.engine.session import Session
from causaldsl.graph.graph import Graph


def interpret(session: Session) -> None:
    """Evaluate every operation of the session's graph, in the order of its plan.

    Raises:
        RunFailure: where the run can't go on.
    """
    try:
        for keys in session.plan.order:
            session.progress(_doing(session.graph, keys), 0, 0)
            session.keep(keys, evaluate(session, keys))
    finally:
        session.close()


def evaluate(session: Session, keys: Sequence[str]) -> list[Any]:
    """The values of operations that go together; their inputs have been evaluated before."""
    operations = [session.graph.operation(key) for key in keys]
    word = type(operations[0].word)
    evaluator = evaluator_of(word)
    if evaluator is None:
        return together(word)(session, operations)
    values = []
    for operation in operations:
        with answerable(word, word.word):
            here: Here[Any] = Here(session, operation)
            values.append(evaluator(here))
            check_declared(here, values[-1])
    return values


def _doing(graph: Graph, keys: Sequence[str]) -> str:
    word, name = graph.operation(keys[0]).word.word, graph.name_of(keys[0])
    if len(keys) > 1:
        return f"{word}, {len(keys)} together"
    return f"{word} {name}" if name else word
