"""Which pairs the clean model gets right, before a program that is only about these is run.

With a foil, a pair is right if the logit of its answer is above that of its foil; without one, if
its answer is the most likely next token.
"""

from __future__ import annotations

from collections.abc import Iterable

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.pairs import PairSet
from causaldsl.check.spelled import spelled_out
from causaldsl.content_store import ContentStore
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.words.runs import outcomes_of
from causaldsl.graph.graph import Graph, Made
from causaldsl.graph.operations import (
    CleanRunWord,
    Input,
    MeasureWord,
    Operation,
    inputs_of,
    pairs_operation,
)
from causaldsl.plan.settings import Progress, Settings


def right_pairs(
    program: CheckedProgram,
    sets: Iterable[PairSet],
    settings: Settings,
    progress: Progress,
    store: ContentStore | None,
    own: set[str],
) -> dict[str, tuple[bool, ...]]:
    """For each pair of some sets, by the sets' digests, whether the model gets it right.

    What this puts into the store is added to ``own``.
    """
    assert program.model is not None
    graph, model = Graph(vocabulary=program.words), program.model.shapes.fingerprint
    asked = {pairs.digest: pairs for pairs in sets}
    for digest, pairs in asked.items():
        rows = spelled_out(pairs)
        key = graph.add(pairs_operation(rows, model))
        graph.pairs[key] = rows
        run = CleanRunWord(side="base")
        clean = graph.add(Operation(word=run, inputs=(Input(role="pairs", key=key),), model=model))
        word = MeasureWord(metrics=("logit_diff" if pairs.foils else "accuracy",))
        measured = graph.add(Operation(word=word, inputs=inputs_of({"clean": clean}), model=model))
        graph.made[digest] = Made("measure", measured)
    session = open_session(program, graph, settings, progress, store)
    interpret(session)
    if session.kept is not None:
        own |= session.kept.put
    found = {}
    for digest, pairs in asked.items():
        columns = outcomes_of(graph.operation(graph.key_of(digest)), session)["clean"].columns
        numbers = columns["logit_diff" if pairs.foils else "accuracy"]
        found[digest] = tuple((numbers > 0).tolist())
    return found
