"""Runs a graph: every operation once, in the order of the plan."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from causaldsl.engine.answerable import answerable
from causaldsl.engine.declared import check_declared
from causaldsl.engine.here import Here
from causaldsl.engine.lift import lifted
from causaldsl.engine.memory.retry import NoRoom, is_out_of_memory, make_room
from causaldsl.engine.registry import evaluator_of, together
from causaldsl.engine.session import Session
from causaldsl.graph.graph import Graph

_TRIES = 3


def interpret(session: Session) -> None:
    """Evaluate every operation of the session's graph, in the order of its plan.

    Raises:
        RunFailure: where the run can't go on.
    """
    try:
        for keys in session.plan.order:
            session.progress(_doing(session.graph, keys), 0, 0)
            values = _values(session, keys)
            session.keep(list(values), list(values.values()))
    finally:
        session.close()


def interpret_some(session: Session, keys: Container[str]) -> None:
    """Evaluate those of these operations that have no value yet, for a run that goes on after.

    What they leave stays until the session is closed.

    Raises:
        RunFailure: as :func:`interpret`.
    """
    for group in session.plan.order:
        some = [key for key in group if key in keys and key not in session.values]
        if some:
            session.progress(_doing(session.graph, some), 0, 0)
            session.values.update(_values(session, some))


def _values(session: Session, keys: Sequence[str]) -> dict[str, Any]:
    """The values of operations that go together: those in the store, and those made now.

    What nothing needs has none.
    """
    kept = session.kept
    if kept is None:
        return dict(zip(keys, _with_room(session, keys), strict=True))
    wanted = [key for key in keys if key in kept.made]
    values = {key: kept.restore(session, key) for key in keys if key in kept.found}
    if wanted:
        session.said.clear()
        session.drew.clear()
        made = _with_room(session, wanted)
        kept.keep(session, wanted, made)
        values |= zip(wanted, made, strict=True)
    return {key: values[key] for key in keys if key in values}


def _with_room(session: Session, keys: Sequence[str]) -> list[Any]:
    """The values of operations; with clean runs in files where memory ran out outside of a pass."""
    for _ in range(_TRIES):
        try:
            return evaluate(session, keys)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here are the frames of the failed evaluation, and their tensors, gone.
        make_room(session.store)
    raise NoRoom(
        f"there is not enough memory for {_doing(session.graph, keys)}",
        "use fewer or shorter prompts, another --device, or a machine with more",
    )


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
            value = evaluator(here)
            check_declared(here, value)
            values.append(lifted(here, evaluator, value))
    return values


def _doing(graph: Graph, keys: Sequence[str]) -> str:
    word, name = graph.operation(keys[0]).word.word, graph.name_of(keys[0])
    if len(keys) > 1:
        return f"{word}, {len(keys)} together"
    return f"{word} {name}" if name else word
