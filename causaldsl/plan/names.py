"""What people call the operations that go through the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from causaldsl.graph.audits import ARM
from causaldsl.graph.compile import Graph
from causaldsl.graph.operations import HopWord, Operation

_FIRST = 3


def names_of(graph: Graph) -> dict[str, str]:
    """For every operation: its name, or that of the arm, fit or audit that it is part of."""
    names: dict[str, str] = {}
    for (measure, arm), key in graph.runs.items():
        if arm != "clean":
            names.setdefault(key, measure + (arm if arm.startswith("[") else f".{arm}"))
    called = {key: name for name, key in reversed(graph.names.items())}
    for key, measures in graph.fits.items():
        for part, measure in measures.items():
            patched = graph.operation(measure).given("patched") or ""
            what = called.get(key) or _place(graph.operation(key))
            names.setdefault(patched, f"{what} on its {part} pairs")
    for audit, key in graph.audits.items():
        for given in graph.operation(key).inputs:
            if given.role.startswith(ARM) and given.role != f"{ARM}clean":
                names.setdefault(given.key, f"{audit}.{given.role.removeprefix(ARM)}")
    for histogram, key in graph.histograms.items():
        for given in graph.operation(key).inputs:
            names.setdefault(given.key, f"{histogram}.{given.role}")
    names |= called
    for key in graph.order():
        operation = graph.operation(key)
        if operation.word.word == "clean_run":
            names[key] = graph.pairs_of(key).name
    _name_hops(graph, names)
    return {key: names.get(key) or _place(graph.operation(key)) for key in graph.network}


def listed(names: Iterable[str]) -> str:
    """A few names, and how many there are.

    >>> listed(["a", "b", "b", "c", "d"])
    'a, b (2), c, ... (5 in all)'
    """
    counts = Counter(names)
    shown = [name if n == 1 else f"{name} ({n})" for name, n in counts.items()]
    if len(shown) > _FIRST:
        shown = [*shown[:_FIRST], f"... ({counts.total()} in all)"]
    return ", ".join(shown)


def _name_hops(graph: Graph, names: dict[str, str]) -> None:
    """The hops of a path are called as the arm is that it is for."""
    for key in reversed(graph.order()):
        for given in graph.operation(key).all_given("do"):
            if key in names and isinstance(graph.operation(given).word, HopWord):
                names.setdefault(given, names[key])


def _place(operation: Operation) -> str:
    return str(operation.at) if operation.at else operation.label
