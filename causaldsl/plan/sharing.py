"""Which operations go through the model in one pass, each as rows of its own.

Patched runs, hops and DAS can, if they start from the same clean run and hold the same; a pass is
made when everything that any of its members takes has been made. So those of one kind go together
that have equally many of their kind before them: patched runs along subspaces that are learned
first all wait for them, and steps of a path go step by step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import networkx as nx

from causaldsl.graph.graph import Graph
from causaldsl.plan.request import Asked

Members = tuple[str, ...]


def shared_passes(
    graph: Graph, order: Sequence[str], asked: Mapping[str, Asked], backends: Mapping[str, str]
) -> dict[str, Members]:
    """All operations of a pass, in the graph's ``order``, by each operation that can share one."""
    kinds = {type(graph.operation(key).word) for key in order if asked[key].mark is not None}
    level = {kind: _levels(graph, order, kind) for kind in kinds}
    alike: dict[Hashable, list[str]] = defaultdict(list)
    for key in order:
        one = asked[key]
        # Arms go together on the cone alone; what is read of one run does on any backend.
        reads_one = any(request.shared is not None for request in one.requests)
        if one.mark is not None and (backends[key] == "cone" or reads_one):
            kind = type(graph.operation(key).word)
            alike[kind, level[kind][key], one.mark, backends[key]].append(key)
    groups = _acyclic(graph, order, [tuple(keys) for keys in alike.values()])
    return {key: group for group in groups for key in group}


def pass_order(graph: Graph, order: Sequence[str], shared: Mapping[str, Members]) -> list[Members]:
    """Every operation once, those of a pass together, after all that they take.

    Pairs, clean runs, and interventions, which read them, come right before what first uses them.
    """
    position = {key: i for i, key in enumerate(order)}
    contracted = _contracted(graph, {key: group[0] for key, group in shared.items()}, order)
    found: dict[str, None] = {}

    def make(first: str) -> None:
        for before in sorted(contracted.predecessors(first), key=position.__getitem__):
            if before not in found:
                make(before)
        found[first] = None

    alone = (key for key in order if len(shared.get(key, (key,))) == 1)
    late = {key for key in alone if graph.operation(key).word.late}
    firsts = list(nx.lexicographical_topological_sort(contracted, key=position.__getitem__))
    for first in sorted(firsts, key=late.__contains__):
        if first not in found:
            make(first)
    return [shared.get(first, (first,)) for first in found]


def _levels(graph: Graph, order: Sequence[str], kind: type | None) -> dict[str, int]:
    """How many operations of a kind (None: of any) come before each one, on the longest way."""
    levels: dict[str, int] = {}
    for key in order:
        before = graph.network.predecessors(key)
        levels[key] = max(
            (levels[b] + (kind is None or type(graph.operation(b).word) is kind) for b in before),
            default=0,
        )
    return levels


def _acyclic(graph: Graph, order: Sequence[str], groups: list[Members]) -> list[Members]:
    """The groups, some of them split, so that no pass waits for another that waits for it."""
    levels = _levels(graph, order, None)
    while True:
        contracted = _contracted(graph, {key: group[0] for group in groups for key in group}, order)
        knots = [knot for knot in nx.strongly_connected_components(contracted) if len(knot) > 1]
        if not knots:
            return groups
        knotted = set().union(*knots)
        groups = [
            part
            for group in groups
            for part in (_by_level(group, levels) if group[0] in knotted else [group])
        ]


def _by_level(group: Members, levels: Mapping[str, int]) -> list[Members]:
    parts: dict[int, list[str]] = {}
    for key in group:
        parts.setdefault(levels[key], []).append(key)
    return [tuple(part) for part in parts.values()]


def _contracted(graph: Graph, first: Mapping[str, str], order: Sequence[str]) -> nx.DiGraph:
    """The graph with each group as one node: the ``first`` of its operations, for each of them.

    A group itself would be no node for thousands of arms: to hash it takes as long as it is.
    """
    contracted = nx.DiGraph()
    contracted.add_nodes_from(dict.fromkeys(first.get(key, key) for key in order))
    for before, after in graph.network.edges():
        ends = first.get(before, before), first.get(after, after)
        if ends[0] != ends[1]:
            contracted.add_edge(*ends)
    return contracted
