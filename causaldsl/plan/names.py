"""What people call the operations that go through the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from causaldsl.graph.graph import Graph, Made
from causaldsl.graph.operations import Operation

_FIRST = 3


def names_of(graph: Graph) -> dict[str, str]:
    """The name of every operation, or that of the arm, fit or audit that it is part of."""
    names: dict[str, str] = {}
    for name, made in graph.of_kind("measure").items():
        _name_arms(names, name, made)
    for made in graph.of_kind("fit").values():
        for part, measure in made.parts.items():
            patched = graph.operation(measure).input("patched")
            what = graph.name_of(made.key) or _place(graph.operation(made.key))
            names.setdefault(patched, f"{what} on its {part} pairs")
    for kind in ("audit", "attribution"):
        for name, made in graph.of_kind(kind).items():
            _name_arms(names, name, made)
    for name, made in graph.of_kind("histogram").items():
        for taken in graph.operation(made.key).inputs:
            names.setdefault(taken.key, f"{name}.{taken.role}")
    names |= graph.called
    for key in graph.order():
        operation = graph.operation(key)
        if operation.word.word == "clean_run":
            names[key] = graph.pairs_of(key).name
    _name_hops(graph, names)
    return {key: names.get(key) or _place(graph.operation(key)) for key in graph.network}


def noted_of(graph: Graph, names: Mapping[str, str]) -> dict[str, str]:
    """The names under which notes speak of runs, without those that only an audit makes.

    Nobody wrote these, and it is no fault if they change nothing: of a stream that is one direction
    nothing lies beside it. The patch that is audited has the audit's name.
    """
    noted = dict(names)
    for name, made in graph.of_kind("audit").items():
        for arm, key in made.parts.items():
            if names.get(key) == f"{name}.{arm}":
                del noted[key]
                if arm == "v":
                    noted[key] = name
    by = trainers(graph)
    for made in graph.of_kind("fit").values():
        if made.key in by and not graph.name_of(made.key):
            for measure in made.parts.values():
                noted.pop(graph.operation(measure).input("patched"), None)
    return noted


def trainers(graph: Graph) -> dict[str, str]:
    """By operation, the audit that makes it for itself, and not because the program says it."""
    found: dict[str, str] = {}
    for name, made in graph.of_kind("audit").items():
        inputs = graph.operation(made.key).inputs
        given = _behind(graph, [one.key for one in inputs if one.role in ("of", "against")])
        for key in _behind(graph, [*made.parts.values(), *(one.key for one in inputs)]) - given:
            found.setdefault(key, name)
    return found


def _behind(graph: Graph, keys: Iterable[str]) -> set[str]:
    """These operations and all that they are made from."""
    todo, seen = list(keys), set[str]()
    while todo:
        key = todo.pop()
        if key not in seen:
            seen.add(key)
            todo += [given.key for given in graph.operation(key).inputs]
    return seen


def _name_arms(names: dict[str, str], name: str, made: Made) -> None:
    for arm, key in made.parts.items():
        if arm != "clean":
            names.setdefault(key, name + (arm if arm.startswith("[") else f".{arm}"))


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
        for hop in graph.operation(key).inputs_as("do"):
            if key in names and graph.operation(hop).to:
                names.setdefault(hop, names[key])


def _place(operation: Operation) -> str:
    return str(operation.at) if operation.at else operation.label
