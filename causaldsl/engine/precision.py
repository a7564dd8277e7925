"""What bfloat16 does to a run's numbers, measured: some of its runs again, in float32 too.

The first pairs of every set go through every run (or 64 of them) in both precisions, with the same
directions, those that the bfloat16 run has learned. So what is compared is the arithmetic of the
model, not where two trainings ended. With p_ij the logit difference of pair j in run i::

    largest   = max |p_ij - p'_ij|        mean = mean |p_ij - p'_ij|
    of_means  = max_i |mean_j p_ij - mean_j p'_ij|
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from causaldsl.check.pairs import PromptSet
from causaldsl.engine.backend import Backend
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import Backends
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.weights.load import Loaded, load
from causaldsl.graph.graph import Graph, Made
from causaldsl.graph.operations import MadeWord, MeasureWord, Operation, inputs_of
from causaldsl.plan.chunks import COMPARED_PAIRS, COMPARED_RUNS

COMPARED = "compared"


@dataclass(frozen=True)
class Precision:
    """How far logit differences lie from float32's, in ``runs`` runs, ``compared`` in all."""

    dtype: str
    runs: int
    compared: int
    largest: float
    mean: float
    of_means: float

    @property
    def text(self) -> str:
        """How far the two precisions lie apart, in a sentence."""
        return (
            f"{self.dtype}: logit differences lie up to {self.largest:.2g} from float32's "
            f"({self.mean:.2g} on average, {self.compared} of {self.runs} runs compared); the mean "
            f"of a run up to {self.of_means:.2g}"
        )


def measure_precision(session: Session) -> None:
    """After a run in bfloat16: compare it with float32, and leave that in the session."""
    if session.loaded.dtype != torch.bfloat16:
        return
    if session.kept is not None and (found := session.kept.precision()) is not None:
        session.precision = Precision(**found)
        session.note(session.precision.text)
        return
    graph = few_pairs(session)
    if graph is None:
        session.note("bfloat16: no logit difference is measured, so none is compared with float32")
        return
    alone = session.settings.backend == "cone"
    single = load(session.loaded.spec, session.settings.device, "float32", alone)
    ours = _logit_diffs(session, graph, session.loaded, session.backends)
    theirs = _logit_diffs(
        session, graph, single, Backends(single, [], preferred=session.settings.backend)
    )
    session.precision = compare(session.settings.dtype, ours, theirs)
    if session.kept is not None:
        session.kept.keep_precision(asdict(session.precision))
    session.note(session.precision.text)


def compare(dtype: str, ours: list[Tensor], theirs: list[Tensor]) -> Precision:
    """How far the logit differences (n,) of each run lie apart in two precisions."""
    apart = torch.cat([(a - b).abs() for a, b in zip(ours, theirs, strict=True)])
    of_means = max(float((a.mean() - b.mean()).abs()) for a, b in zip(ours, theirs, strict=True))
    largest, mean = float(apart.max()), float(apart.mean())
    return Precision(dtype, len(ours), len(apart), largest, mean, of_means)


def few_pairs(session: Session) -> Graph | None:
    """The graph of the runs to compare, on the first pairs; None if there are none.

    Subspaces and matrices are operations no more: they are given.
    """
    graph, asked = session.graph, session.plan.asked
    used = [key for key in graph.order() if key in session.plan.outcomes]
    changed = [key for key in used if asked[key].requests]
    clean = [key for key in used if key not in changed and _has_answers(graph, key)]
    wanted = clean + _some(changed)
    if not wanted:
        return None
    few = Graph(called=dict(graph.called))
    for key in wanted:
        _add(few, session, key)
    compared = Operation(word=MeasureWord(metrics=()), inputs=inputs_of({k: k for k in wanted}))
    few.made[COMPARED] = Made("measure", few.add(compared))
    return few


def _add(few: Graph, session: Session, key: str) -> None:
    """Put an operation and what it rests on into the graph, under the same keys."""
    if key in few.network:
        return
    operation = session.graph.operation(key)
    if _is_made(session, key):
        operation = Operation(word=MadeWord(key=key), model=operation.model)
    for taken in operation.inputs:
        _add(few, session, taken.key)
    few.add(operation, key=key)
    if key in session.graph.pairs:
        pairs = session.graph.pairs[key]
        few.pairs[key] = replace(pairs, pairs=pairs.pairs[:COMPARED_PAIRS])


def _logit_diffs(
    session: Session, graph: Graph, loaded: Loaded, backends: dict[str, Backend]
) -> list[Tensor]:
    """Logit differences (n,) of every run of the graph."""
    dtype = loaded.dtype_name
    session.progress(f"the same in {dtype}, to compare", 0, 0)
    settings = replace(session.settings, dtype=dtype)
    made = {key: session.values[key] for key in graph.network if _is_made(session, key)}
    again = Session(graph, loaded, backends, settings, values=made)
    interpret(again)
    keys = graph.operation(graph.key_of(COMPARED)).inputs
    return [again.values[taken.key].logit_diff for taken in keys]


def _is_made(session: Session, key: str) -> bool:
    """Whether an operation gives a subspace or a matrix, which is taken as it is."""
    return isinstance(session.values.get(key), SubspaceValue | Tensor)


def _has_answers(graph: Graph, clean_run: str) -> bool:
    return not isinstance(graph.pairs_of(clean_run), PromptSet)


def _some(keys: list[str]) -> list[str]:
    """At most ``COMPARED_RUNS`` of them, from the first to the last."""
    if len(keys) <= COMPARED_RUNS:
        return keys
    return [keys[i * (len(keys) - 1) // (COMPARED_RUNS - 1)] for i in range(COMPARED_RUNS)]
