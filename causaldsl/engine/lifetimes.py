"""What can be freed when: after which operation a large value is not needed any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from causaldsl.graph.compile import Graph
from causaldsl.plan.keeping import used_by


def last_users(graph: Graph, order: Iterable[str]) -> dict[str, list[str]]:
    """For an operation's key, the clean runs and interventions that it is the last to use.

    ``order`` is that in which the operations are made.
    """
    last: dict[str, str] = {}
    for key in order:
        operation = graph.operation(key)
        if operation.word.large:
            last[key] = key
        for used in used_by(graph, operation):
            if used in last:
                last[used] = key
    found = defaultdict(list)
    for used, key in last.items():
        found[key].append(used)
    return dict(found)
