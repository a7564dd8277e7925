"""The graph as text and as JSON, the same for the same program every time."""

from __future__ import annotations

import json

from causaldsl.graph.graph import Graph


def graph_text(graph: Graph) -> str:
    """One operation a line: its number, key, name, what it is, and the numbers that it takes.

    Runs of a sweep are listed like any other operation.
    """
    order = graph.order()
    number = {key: i for i, key in enumerate(order)}
    lines = []
    for key in order:
        operation = graph.operation(key)
        name = graph.name_of(key)
        title = f"{name} = {operation.label}" if name else operation.label
        taken = ", ".join(f"{given.role} {number[given.key]}" for given in operation.inputs)
        lines.append(f"{number[key]:>4}  {key}  {title}" + (f"  <- {taken}" if taken else ""))
    return "\n".join(lines) + "\n"


def graph_json(graph: Graph) -> str:
    """Every operation with all that enters its key, and the names that the program gives them."""
    operations = [
        {"key": key, "name": graph.name_of(key), **graph.operation(key).content}
        for key in graph.order()
    ]
    return json.dumps({"schema": 1, "operations": operations}, indent=1) + "\n"
