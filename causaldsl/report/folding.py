"""What a graph's picture draws as one node: a sweep, table or audit with all that only it uses.

Operations that the program names, or that a measure, histogram or trace uses as well, have nodes of
their own, and so do pairs and clean runs, which tie a program together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from causaldsl.check.checked import CheckedProgram
from causaldsl.graph.graph import Graph

_SHARED = ("pairs", "clean_run")
_KINDS = 3


@dataclass(frozen=True)
class Folded:
    """One such node: its name in the picture, and the keys of the operations inside."""

    node: str
    inside: tuple[str, ...]


def folded(program: CheckedProgram, graph: Graph) -> list[Folded]:
    """The sweeps, tables and audits of a program, each with the operations that it stands for."""
    tables, audits = set(graph.keys("table")), set(graph.keys("audit"))
    # A claim on a cell speaks of the table.
    cells = {given.key for key in tables for given in graph.operation(key).inputs}
    measures = {k for k in graph.network if graph.operation(k).word.word == "measure"}
    stop = measures | tables | audits
    kept = _above(graph, _other_roots(program, graph), stop | cells)
    kept |= {k for k in graph.network if graph.operation(k).word.word in _SHARED}
    found = []
    for measurement in program.measurements.values():
        if measurement.axes:
            runs = [graph.arm(measurement.name, r.name) for r in measurement.runs if r.coordinates]
            found.append((f"sweep {measurement.name}", runs))
    for key in (*graph.keys("table"), *graph.keys("audit")):
        found.append((f"node {key}", [key]))
    made = []
    for node, roots in found:
        inside = _inside(graph, roots, stop) - kept
        made.append(Folded(node, tuple(key for key in graph.network if key in inside)))
    return made


def _inside(graph: Graph, roots: list[str], stop: set[str]) -> set[str]:
    inputs = {given.key for key in roots for given in graph.operation(key).inputs}
    return _above(graph, inputs, stop)


def counted(words: Iterable[str]) -> str:
    """How often each word was folded away, the most frequent first.

    >>> counted(["random", "das", "random"])
    '2 random, 1 das'
    """
    found = Counter(words)
    common = found.most_common(_KINDS)
    rest = found.total() - sum(count for _, count in common)
    return ", ".join([*(f"{count} {word}" for word, count in common), *_more(rest)])


def _more(count: int) -> list[str]:
    return [f"{count} more"] if count else []


_ROOTS = ("histogram", "trace", "attribution", "claim", "relative")


def _other_roots(program: CheckedProgram, graph: Graph) -> set[str]:
    """What stands in the picture by itself: named values, measures, histograms, traces, claims."""
    named = {graph.key_of(name) for name in program.named}
    runs = {
        graph.arm(m.name, run.name)
        for m in program.measurements.values()
        for run in m.runs
        if not m.axes
    }
    return named | runs | set(graph.keys(*_ROOTS))


def _above(graph: Graph, roots: Iterable[str], stop: set[str]) -> set[str]:
    """The roots and all that they are made from, without what lies beyond ``stop``."""
    found: set[str] = set()
    waiting = [key for key in roots if key not in stop]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += [g.key for g in graph.operation(key).inputs if g.key not in stop]
    return found
