"""After which operation a large value can be freed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from causaldsl.graph.compile import Graph
from causaldsl.graph.operations import CleanRunWord, HopWord, Operation
from causaldsl.plan.keeping import used_by
from causaldsl.vocabulary.audits import PartOfPatch, SameLength
from causaldsl.vocabulary.base import INTERVENTIONS


def last_users(graph: Graph, order: Iterable[str]) -> dict[str, list[str]]:
    """The clean runs and interventions that each operation is the last to use, by its key.

    ``order`` is the order in which operations are evaluated.
    """
    last: dict[str, str] = {}
    for key in order:
        operation = graph.operation(key)
        if _is_large(operation):
            last[key] = key
        for used in used_by(graph, operation):
            if used in last:
                last[used] = key
    found = defaultdict(list)
    for used, key in last.items():
        found[key].append(used)
    return dict(found)


def _is_large(operation: Operation) -> bool:
    """Whether it keeps activations of all pairs."""
    word = operation.word
    made = isinstance(word, HopWord | PartOfPatch | SameLength)
    return made or isinstance(word, CleanRunWord) or type(word) in INTERVENTIONS.values()
