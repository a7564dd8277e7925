"""The compiled graph as DOT, with the measured effects on its nodes.

A sweep, a table or an audit is one node with all that only it uses (see `folding.py`), and the
words inside an `expect` are folded into its claim, so that the picture keeps to what a reader of
the program would name.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.measurements import Measurement
from causaldsl.check.pairs import PromptSet
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import ARM, Operation
from causaldsl.report.folding import counted, folded
from causaldsl.report.numbers import MARKS, furthest, tint, with_interval
from causaldsl.results.records import Results
from causaldsl.shown import visible
from causaldsl.vocabulary.metrics import headline, metric_named
from causaldsl.vocabulary.types import SubspaceType

# Shape and fill by kind; shape alone tells the kinds apart in black and white.
_STYLE = {
    "pairs": ("folder", "#f2f2f2"),
    "clean_run": ("box", "#ffffff"),
    "matrix": ("trapezium", "#f2f2f2"),
    "hop": ("cds", "#e9e2f3"),
    "trace": ("component", "#fdf3d6"),
    "subspace": ("ellipse", "#dbe9f6"),
    "run": ("box", "#fdf3d6"),
    "sweep": ("box3d", "#fdf3d6"),
    "audit": ("octagon", "#ffffff"),
    "illusory": ("octagon", "#f8d7d3"),
    "faithful": ("octagon", "#dff0d8"),
    "inconclusive": ("octagon", "#fdf3d6"),
    "held": ("note", "#dff0d8"),
    "fell": ("note", "#f8d7d3"),
    "undecided": ("note", "#fdf3d6"),
    "claim": ("note", "#ffffff"),
}


@dataclass(frozen=True)
class _Drawn:
    """One node of the picture and the operations that it stands for."""

    name: str
    kind: str
    lines: tuple[str, ...]
    effect: float | None = None
    """The headline metric from -1 to 1, if it is a fraction: the node's tint.

    It is orange where a patch lowers the answer, and blue where it raises it.
    """


def graph_dot(
    program: CheckedProgram, graph: Graph, results: Results | None = None, only: str | None = None
) -> str:
    """DOT source of the graph; with ``results``, numbers on the nodes; ``only`` one measurement."""
    drawn, drawn_in = _nodes(program, graph, results)
    edges = _edges(program, graph, drawn_in)
    if only is not None:
        roots = {n for n in drawn if n == f"sweep {only}" or n.startswith(f"run {only}.")}
        keep = roots | _ancestors(edges, roots)
        drawn = {name: node for name, node in drawn.items() if name in keep}
        edges = [edge for edge in edges if edge[0] in drawn and edge[1] in drawn]
    return _dot(program, list(drawn.values()), edges, results, only)


def _nodes(
    program: CheckedProgram, graph: Graph, results: Results | None
) -> tuple[dict[str, _Drawn], dict[str, list[str]]]:
    """The nodes to draw, by name, and those that each operation is drawn in.

    Two measures may share a run, which then is drawn in both.
    """
    drawn: dict[str, _Drawn] = {}
    drawn_in: dict[str, list[str]] = {}
    parts = folded(program, graph)
    for part in parts:
        for key in part.inside:
            drawn_in.setdefault(key, []).append(part.node)
    for key in graph.order():
        node = None if key in drawn_in else _plain_node(graph, key, graph.operation(key))
        if node is not None:
            drawn[node.name] = _with_result(node, graph.name_of(key) or "", results)
            drawn_in[key] = [node.name]
    for measurement in program.measurements.values():
        for node, key in _run_nodes(graph, measurement, results):
            drawn[node.name] = node
            drawn_in.setdefault(key, []).append(node.name)
    for i, claim in enumerate(program.claims):
        found = results.expectations[i] if results else None
        kind = "claim" if found is None else found.verdict
        lines = [_wrap(claim.text)]
        if found is not None:
            sides = f": {found.left:.3g} and {found.right:.3g}"
            compared = found.found is None  # a verdict has no sides
            lines.append(MARKS[found.verdict] + (sides if compared else ""))
        drawn[f"claim {i}"] = _Drawn(f"claim {i}", kind, tuple(lines))
    for part in parts:
        words = [w for w in (_subspace_word(graph, key) for key in part.inside) if w]
        if words:
            node = drawn[part.node]
            drawn[part.node] = replace(node, lines=(*node.lines, f"inside: {counted(words)}"))
    return drawn, drawn_in


def _subspace_word(graph: Graph, key: str) -> str | None:
    """The word of an operation that makes a subspace."""
    operation = graph.operation(key)
    node = _plain_node(graph, key, operation)
    return operation.word.word if node is not None and node.kind == "subspace" else None


def _plain_node(graph: Graph, key: str, operation: Operation) -> _Drawn | None:
    word = operation.word.word
    name = graph.name_of(key)
    options = operation.word.identity()
    if word == "pairs":
        noun = "text" if isinstance(graph.pairs[key], PromptSet) else "pair"
        return _Drawn(f"node {key}", "pairs", (f"{name}", _count(options["count"], noun)))
    if word == "clean_run":
        given = operation.input("pairs")
        sides = "" if isinstance(graph.pairs[given], PromptSet) else f"{options['side']}s "
        return _Drawn(
            f"node {key}", "clean_run", ("clean run", f"{sides}of {graph.name_of(given)}")
        )
    if word == "matrix":
        index = ".".join(str(options[i]) for i in ("layer", "head") if options[i] is not None)
        title = f"{options['name']}[{index}]" if index else str(options["name"])
        return _Drawn(f"node {key}", "matrix", (title,))
    if word == "histogram":
        return _Drawn(f"node {key}", "sweep", (f"{word} {name}",))
    if word == "table":
        cells = _count(len(operation.inputs), "number")
        return _Drawn(f"node {key}", "sweep", (f"table {name}", cells))
    if word == "illusion":
        runs = sum(given.role.startswith(ARM) for given in operation.inputs)
        about = (f"audit {name}", f"{word} at {operation.at}", _count(runs, "run"))
        return _Drawn(f"node {key}", "audit", about)
    if word == "hop":
        return _Drawn(f"node {key}", "hop", (*_receivers(operation), *_policy(options)))
    if word == "trace":
        through = [_count(len(options[kind]), kind[:-1]) for kind in ("heads", "mlps")]
        lines = (f"trace {name}", f"{options['metric']} through {', '.join(through)}")
        return _Drawn(f"node {key}", "trace", lines)
    if word == "attribution":
        of = "edges" if options["senders"] else _count(len(operation.to), "site")
        said = [f"attribution {name}", f"{options['metric']} at {of}: estimates"]
        if options["drawn"]:
            said.append(f"{_count(len(options['drawn']), 'exact effect')} beside them")
        return _Drawn(f"node {key}", "trace", tuple(said))
    if operation.word.changes or not isinstance(graph.types.get(key), SubspaceType):
        return None
    details = [str(operation.at)] if operation.at else []
    title = word if name is None else f"{name} = {word}"
    return _Drawn(f"node {key}", "subspace", (title, *details))


def _receivers(operation: Operation) -> list[str]:
    """One to a line; of more than four the first and the last."""
    names = [str(place) for place in operation.to]
    if len(names) > 4:
        names = [names[0], f"... {len(names)} receivers ...", names[-1]]
    return ["path to", *names]


def _policy(options: dict[str, Any]) -> list[str]:
    return [f"{name} {choice}" for name, choice in options.items()]


def _run_nodes(
    graph: Graph, measurement: Measurement, results: Results | None
) -> list[tuple[_Drawn, str]]:
    table = results.measures[measurement.name] if results else {}
    metric = headline(measurement.metrics)
    if measurement.axes:
        cells = [run for run in measurement.runs if run.coordinates]
        axes = " x ".join(f"{len(axis.labels)} {axis.name}" for axis in measurement.axes)
        lines = [f"sweep {measurement.name}", f"{_count(len(cells), 'run')} ({axes})"]
        if table:
            best = furthest(table, metric)[0]
            said = with_interval(table[best][metric])
            lines.append(f"{metric} changes most at {best}: {said}, selected")
        name = f"sweep {measurement.name}"
        node = _Drawn(name, "sweep", tuple(lines))
        return [(node, graph.arm(measurement.name, run.name)) for run in cells]
    found = []
    for run in measurement.runs[1:]:
        lines = [f"{measurement.name}.{run.name}", _wrap(run.label)]
        effect = None
        if table:
            number = table[run.name][metric]
            lines.append(f"{metric} {with_interval(number)}")
            shown = _is_fraction(metric) and not math.isnan(number.mean)
            effect = max(-1.0, min(1.0, number.mean)) if shown else None
        node = _Drawn(f"run {measurement.name}.{run.name}", "run", tuple(lines), effect)
        found.append((node, graph.arm(measurement.name, run.name)))
    return found


def _with_result(node: _Drawn, name: str, results: Results | None) -> _Drawn:
    """A trace's or audit's node with what it found."""
    if results is None:
        return node
    if node.kind == "audit" and name in results.audits:
        verdict = results.audits[name].verdict
        return replace(node, kind=verdict, lines=(*node.lines, f"verdict: {verdict}"))
    if node.kind == "trace" and name in results.traces:
        trace = results.traces[name]
        explained = f"{trace.explained.mean:.0%} of it in the edges shown"
        return replace(node, lines=(*node.lines, f"total {with_interval(trace.total)}", explained))
    return node


def _is_fraction(metric: str) -> bool:
    """Whether a value of 1 is the whole of what there was."""
    return metric_named(metric).unit == "fraction"


def _edges(
    program: CheckedProgram, graph: Graph, drawn_in: dict[str, list[str]]
) -> list[tuple[str, str, str]]:
    """Edges between drawn nodes; operations that are not drawn pass their inputs on."""
    edges: dict[tuple[str, str, str], None] = {}
    audited = set(graph.keys("audit"))
    audits = {target for key in audited for target in drawn_in[key]}
    passed_on: dict[str, list[tuple[str, str]]] = {}
    """For every operation, where what it takes is drawn: (key, role), through what is not drawn."""
    for key in graph.order():
        taken: dict[tuple[str, str], None] = {}
        for given in graph.operation(key).inputs:
            # A run that an audit shares with a sweep or measure is not what the sweep found.
            shared = key in audited and given.role.startswith(ARM)
            below = [(k, role) for k, role in passed_on[given.key] if not shared or role != "pairs"]
            hidden = shared or given.key not in drawn_in
            taken |= dict.fromkeys(below if hidden else [(given.key, given.role)])
        measures = graph.operation(key).word.word == "measure"
        passed_on[key] = [] if measures and key not in drawn_in else list(taken)
        for target in drawn_in.get(key, ()):
            for source, role in taken:
                if target not in drawn_in[source]:
                    label = _edge_label(role, target in audits)
                    edges[drawn_in[source][0], target, label] = None
    measure_of = {made.key: name for name, made in graph.of_kind("measure").items()}
    claims = graph.keys("claim")
    sources = _claim_sources(graph, drawn_in, measure_of) if claims else {}
    for i, key in enumerate(claims):
        for source in sources[key]:
            edges[source, f"claim {i}", ""] = None
    return list(edges)


def _claim_sources(
    graph: Graph, drawn_in: dict[str, list[str]], measure_of: dict[str, str]
) -> dict[str, list[str]]:
    """For every operation, the drawn nodes that a claim on it speaks of."""
    found: dict[str, list[str]] = {}
    for key in graph.order():
        operation = graph.operation(key)
        if operation.word.word == "result":
            measure = operation.input("measure")
            arm = operation.word.identity()["arm"]
            names = drawn_in.get(graph.operation(measure).find(arm) or "", [])
            mine = f"run {measure_of[measure]}.{arm}"
            found[key] = [mine] if mine in names else names[:1]
        elif key in drawn_in:
            found[key] = drawn_in[key][:1]
        else:
            below = (found[given.key] for given in operation.inputs)
            found[key] = list(dict.fromkeys(itertools.chain(*below)))
    return found


def _edge_label(role: str, audit: bool) -> str:
    """How an input is used. An audit uses what it audits in many ways, so none of them is named."""
    return role if role in (("against",) if audit else ("along", "source", "matrix")) else ""


def _ancestors(edges: list[tuple[str, str, str]], targets: set[str]) -> set[str]:
    network = nx.DiGraph([(source, target) for source, target, _ in edges])
    return {a for t in targets if t in network for a in nx.ancestors(network, t)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _wrap(text: str, width: int = 34) -> str:
    """Break a line of the program at spaces so that no node gets too wide."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _dot(
    program: CheckedProgram,
    nodes: list[_Drawn],
    edges: list[tuple[str, str, str]],
    results: Results | None,
    only: str | None,
) -> str:
    import graphviz

    model = program.model.name if program.model else ""
    caption = f"{program.path.name}{f': {only}' if only else ''} on {model}"
    if results is not None:
        held = sum(e.held for e in results.expectations)
        caption += f", {held} of {len(results.expectations)} claims held"
    font = {"fontname": "Helvetica"}
    whole = {"label": graphviz.escape(visible(caption)), "fontsize": "12", "rankdir": "LR"}
    edge = {"fontsize": "8", "color": "#666666", "fontcolor": "#666666", "arrowsize": "0.6"}
    picture = graphviz.Digraph(
        graph_attr=font | whole | {"nodesep": "0.15", "ranksep": "0.5"},
        node_attr=font | {"fontsize": "10", "style": "filled", "margin": "0.1,0.06"},
        edge_attr=font | edge,
    )
    for node in nodes:
        shape, plain = _STYLE[node.kind]
        fill = plain if node.effect is None else tint(node.effect)
        # The point of a `cds` takes room that its text needs.
        margin = {"margin": "0.3,0.12"} if shape == "cds" else {}
        text = graphviz.escape(visible("\n".join(node.lines)))
        picture.node(node.name, text, shape=shape, fillcolor=fill, **margin)
    for source, target, label in edges:
        # What the runs of a measure share is drawn light, what tells them apart is drawn dark.
        light = target.startswith("run ") and label != "along"
        picture.edge(
            source,
            target,
            label if label in ("along", "against") else "",
            style="dashed" if label == "along" else "solid",
            color="#bbbbbb" if light else "#444444",
        )
    _keep_order(picture, [node.name for node in nodes if node.kind == "run"])
    return str(picture.source)


def _keep_order(picture: Any, runs: list[str]) -> None:
    """The runs of one measure stand below one another, as in the program."""
    for measure in dict.fromkeys(name.split(".")[0] for name in runs):
        mine = [name for name in runs if name.split(".")[0] == measure]
        with picture.subgraph(graph_attr={"rank": "same"}) as same:
            for upper, lower in itertools.pairwise(mine):
                same.edge(upper, lower, style="invis")
