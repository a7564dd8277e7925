"""Which operations a run must make, where the values of some are there."""

from __future__ import annotations

from collections.abc import Container

from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import ARM, PatchedRunWord
from causaldsl.plan.keeping import used_by
from causaldsl.plan.planner import Plan
from causaldsl.vocabulary.matrices import Matrix


def of_model(graph: Graph, plan: Plan, key: str) -> bool:
    """Whether a value takes the model, and so is worth keeping."""
    asked, word = plan.asked[key], graph.operation(key).word
    reads = asked.records or asked.requests or asked.writes or (word.large and key in plan.outcomes)
    return bool(reads) or any(_is_matrix(graph, t.key) for t in graph.operation(key).inputs)


def opens_model(graph: Graph, plan: Plan, key: str) -> bool:
    """Whether making a value needs the model's weights."""
    return of_model(graph, plan, key) or _is_matrix(graph, key)


def to_make(
    graph: Graph, plan: Plan, there: Container[str], wanted: Container[str] | None = None
) -> set[str]:
    """The operations whose values are not ``there`` and that a result is made from.

    Matrices, what holds activations of all pairs, and means of them are made for others only; all
    else stands in the results. With ``wanted``, only these operations do.
    """
    needed: set[str] = set()
    made: set[str] = set()
    for key in reversed([key for group in plan.order for key in group]):
        stands = lasts(graph, plan, key) if wanted is None else key in wanted
        if (key not in needed and not stands) or key in there:
            continue
        made.add(key)
        word = graph.operation(key).word
        if not isinstance(word, PatchedRunWord) or plan.asked[key].requests:
            needed |= used_by(graph, plan, key)
    return made


def outcomes_taken(graph: Graph, key: str) -> set[str]:
    """The runs whose outcomes an operation takes as they are, clean ones too."""
    return {given.key for given in graph.operation(key).inputs if given.role.startswith(ARM)}


def lasts(graph: Graph, plan: Plan, key: str) -> bool:
    """Whether results may be made from a value, so that it is there until the end."""
    word = graph.operation(key).word
    for_others = isinstance(word, Matrix) or word.passing
    return not for_others and (not word.large or key in plan.outcomes)


def _is_matrix(graph: Graph, key: str) -> bool:
    return isinstance(graph.operation(key).word, Matrix)
