"""After which operation a large value can be freed."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain

from causaldsl.graph.graph import Graph
from causaldsl.plan.keeping import used_by
from causaldsl.plan.planner import Plan


def last_users(graph: Graph, plan: Plan) -> dict[str, list[str]]:
    """The clean runs and interventions that each operation is the last to use, by its key.

    They are made in the order of the plan.
    """
    last: dict[str, str] = {}
    for key in chain.from_iterable(plan.order):
        if graph.operation(key).word.large:
            last[key] = key
        for used in used_by(graph, plan, key):
            if used in last:
                last[used] = key
    found = defaultdict(list)
    for used, key in last.items():
        found[key].append(used)
    return dict(found)
