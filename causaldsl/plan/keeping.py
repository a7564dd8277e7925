"""What is kept of the clean runs, from when to when, and what a budget of bytes makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from causaldsl.graph.graph import Graph
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.memory import Kept, at_once, chunk_rows, kept, room
from causaldsl.plan.planner import Plan


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


def kept_runs(graph: Graph, plan: Plan, shapes: ModelDims, dtype: str) -> list[KeptRun]:
    """Every clean run on the cone, in the order in which they are made."""
    step = {key: i for i, group in enumerate(plan.order) for key in group}
    last: dict[str, int] = {}
    for i, group in enumerate(plan.order):
        for key in group:
            last.update(dict.fromkeys(used_by(graph, plan, key), i))
    found = []
    for (key, backend), needs in plan.needs.items():
        if backend == "cone":
            prompts = graph.prompts_of(key)
            size = kept(needs, shapes, prompts, dtype)
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


def used_by(graph: Graph, plan: Plan, key: str) -> set[str]:
    """The operations that one uses: its inputs, and what its passes take beside them."""
    return {taken.key for taken in graph.operation(key).inputs} | plan.asked[key].uses()
