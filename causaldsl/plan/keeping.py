"""What is kept of the clean runs, from when to when, and what a budget of bytes makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from causaldsl.graph.compile import Graph
from causaldsl.graph.operations import CleanRunWord, Operation
from causaldsl.model.shapes import Shapes
from causaldsl.plan.memory import Kept, at_once, chunk_rows, kept, room
from causaldsl.plan.planner import Plan
from causaldsl.plan.work import prompts_of
from causaldsl.vocabulary.histograms import Projection


@dataclass(frozen=True)
class KeptRun:
    """A clean run on the cone: its key, its prompts and their tokens, and what it keeps.

    It is needed from step ``first`` of the plan's order to step ``last``.
    """

    key: str
    prompts: int
    tokens: int
    kept: Kept
    first: int
    last: int

    def chunk(self, budget: int) -> int | None:
        """How many pairs go together; None if all may, as they fit into memory together."""
        if self.kept.total <= room(budget):
            return None
        return chunk_rows(-(-self.kept.total // self.prompts), at_once(budget))


def kept_runs(graph: Graph, plan: Plan, shapes: Shapes, dtype: str) -> list[KeptRun]:
    """Every clean run on the cone, in the order in which they are made."""
    step = {key: i for i, group in enumerate(plan.order) for key in group}
    last: dict[str, int] = {}
    for i, group in enumerate(plan.order):
        for key in group:
            last.update(dict.fromkeys(used_by(graph, graph.operation(key)), i))
    found = []
    for (key, backend), needs in plan.needs.items():
        if backend == "cone":
            prompts = prompts_of(graph, key)
            word = graph.operation(key).word
            assert isinstance(word, CleanRunWord)
            size = kept(needs, shapes, prompts, dtype, word.side == "base")
            tokens = sum(prompt.length for prompt in prompts)
            first = step[key]
            run = KeptRun(key, len(prompts), tokens, size, first, last.get(key, first))
            found.append(run)
    return sorted(found, key=lambda run: run.first)


def most_kept(runs: list[KeptRun]) -> tuple[int, int]:
    """The most bytes that are kept at the same time, and at which step of the order."""
    at = {
        run.first: sum(other.kept.total for other in runs if other.first <= run.first <= other.last)
        for run in runs
    }
    step = max(at, key=at.__getitem__, default=0)
    return at.get(step, 0), step


def used_by(graph: Graph, operation: Operation) -> Iterator[str]:
    """Keys of what an operation takes, its inputs' own clean run where it uses that too."""
    yield from (given.key for given in operation.inputs)
    if isinstance(operation.word, Projection):  # it makes the run again
        run = graph.operation(operation.given("run") or "")
        yield from (given.key for given in run.inputs)
