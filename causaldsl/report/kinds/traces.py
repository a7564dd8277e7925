"""Traces: what carried the effect of an intervention, in short, in full and as pathways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.table import Table
from rich.text import Text

from causaldsl.check.checked import Output
from causaldsl.report.dormant import HEADINGS, WHERE, dormant_as
from causaldsl.report.html.figures import estimate, share
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.svg import Said, Words
from causaldsl.report.html.tables import folded, metric_name, table
from causaldsl.report.kinds.base import Draw, Kind, Named, Options, Picture, kind
from causaldsl.report.numbers import counted, percent, with_interval
from causaldsl.report.pathways.draw import trace_dot
from causaldsl.report.pictures import draw_dot
from causaldsl.report.terminal import hyphened, titled
from causaldsl.report.view import View
from causaldsl.results.numbers import Number
from causaldsl.results.records import Results
from causaldsl.results.routes import TraceEdge, TraceNode, TraceRecord

_ROWS, _ROWS_BESIDE = 12, 6


@kind
class Traces(Kind[TraceRecord]):
    fields = ("traces",)
    title = "Traces"
    terminal_place = 40
    page_place = 31
    operand = "trace"

    def tables(self, results: Results, name: str, record: TraceRecord) -> Iterator[Table]:
        yield _summary_table(name, record)
        yield _component_table(name, record)
        if any(edge.shown for edge in record.edges):
            yield _edge_table(name, record)

    def panel(self, view: View, name: str, record: TraceRecord) -> Html:
        """Total effect, how much the drawn edges explain, the largest parts, what is dormant."""
        top = _largest(record.components)[:_ROWS_BESIDE]
        what = f"the {len(top)} of {len(record.components)} components that carry most"
        return join(
            _summary(record),
            _components(top, join(tag("b", name), f": {what}")) if top else None,
            *(_edges(edges, said) for said, edges in _dormant(record)),
            tag("p", tag("a", "all components and edges", href=f"#traces-{name}"), class_="more"),
        )

    def article(self, view: View, name: str, record: TraceRecord) -> Html:
        """Every component and every edge."""
        parts = _largest(record.components)
        components = _components(parts, "Components, held at clean one by one")
        edges = sorted(record.edges, key=lambda edge: -abs(edge.share))
        measured = f"Edges among the drawn components, by path patching ({record.policy})"
        return tag(
            "article",
            tag("h3", tag("code", name)),
            _summary(record),
            folded("components", len(parts), components) if parts else None,
            folded("edges", len(edges), _edges(edges, measured)) if edges else None,
            id=f"traces-{name}",
        )

    def draw(self, view: View, name: str, record: TraceRecord, asked: Output | None) -> Draw:
        return partial(_draw_pathways, view, name)

    def unasked(self, view: View) -> Iterator[Picture]:
        for name, record in view.results.traces.items():
            draw, words = partial(_draw_pathways, view, name), self.words(record)
            yield Picture(draw, name, ".svg", f"The pathways of {name}", name, words)

    def words(self, record: TraceRecord) -> Words:
        """An edge's numbers and intervals, and what goes when a component is held at clean."""
        nodes = {node.id: Said(_said_of(node), {"component": node.id}) for node in record.nodes}
        return nodes | {
            f"{edge.sender}->{edge.receiver}": Said(
                _said_of_edge(edge),
                {
                    "from": edge.sender,
                    "to": edge.receiver,
                    "share": f"{abs(edge.share):.4f}",
                    "dormant": "yes" if edge.dormant else "no",
                },
            )
            for edge in record.edges
            if edge.shown
        }

    def metrics(self, results: Results) -> set[str]:
        return {trace.metric for trace in results.traces.values()}

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        """The total, or the share of it that is explained."""
        wanted = options.get("name", "")
        number = getattr(results.traces.get(name), wanted, None)
        return (f"{name}.{wanted}", number) if isinstance(number, Number) else None


def _draw_pathways(view: View, name: str, path: Path) -> None:
    caption = f"{name} of {view.program.path.name}"
    draw_dot(trace_dot(view.results.traces[name], caption, view.model), path)


def _said_of(node: TraceNode) -> str:
    if node.share is None or node.mediated is None:
        return node.id
    held = f"{percent(node.share.mean)} of the effect goes when it is held at clean"
    return f"{node.id}: {held} ({with_interval(node.mediated)})"


def _said_of_edge(edge: TraceEdge) -> str:
    effect, natural = with_interval(edge.effect), with_interval(edge.natural)
    said = f"{edge.sender} → {edge.receiver}: {percent(edge.share)} of the effect ({effect}), "
    said += f"naturally {percent(edge.natural_share)} ({natural})"
    return f"{dormant_as(edge)}: {said}" if edge.dormant else said


def _summary_table(name: str, trace: TraceRecord) -> Table:
    rows = {
        "clean": with_interval(trace.clean),
        "total effect": with_interval(trace.total),
        "share that the shown edges carry": with_interval(trace.explained, hyphened),
    }
    title = f"{name}: {trace.does}, {trace.pairs} ({counted(trace.n, trace.n_pairs)})"
    return titled(title, [trace.metric], ["mean"], rows.items())


def _component_table(name: str, trace: TraceRecord) -> Table:
    best = sorted(trace.components, key=lambda node: (-_strength(node), node.id))[:_ROWS]
    title = f"{name}: the {len(best)} of {len(trace.components)} components that mediate most"
    rows = (
        (
            f"MLP {node.layer}" if node.kind == "mlp" else f"{node.layer}.{node.head}",
            node.position,
            "" if node.mediated is None else with_interval(node.mediated),
            "" if node.share is None else with_interval(node.share, hyphened),
        )
        for node in best
    )
    columns = ["goes when held at clean", "share of total"]
    return titled(title, ["component", "position"], columns, rows)


def _edge_table(name: str, trace: TraceRecord) -> Table:
    shown = sorted((edge for edge in trace.edges if edge.shown), key=lambda e: -abs(e.share))
    dormant = sum(edge.dormant for edge in shown)
    title = f"{name}: {len(shown)} of {len(trace.edges)} edges, {dormant} dormant; {trace.policy}"
    columns = ["effect", "share", "natural effect", "natural share"]
    out = titled(title, ["from", "to"], columns)
    out.add_column("")
    for edge in shown:
        effect, natural = with_interval(edge.effect), with_interval(edge.natural)
        shares = hyphened(edge.share), hyphened(edge.natural_share)
        word = dormant_as(edge).replace("dormant", "DORMANT")
        mark = Text(word, "bold") if edge.dormant else ""
        out.add_row(edge.sender, edge.receiver, effect, shares[0], natural, shares[1], mark)
    return out


def _summary(trace: TraceRecord) -> Html:
    where = f" at {', '.join(trace.positions)}" if trace.positions else ""
    shown = [edge for edge in trace.edges if edge.shown]
    dormant = sum(edge.dormant for edge in shown)
    what = [tag("code", trace.does), " changes ", metric_name(trace.metric), " by "]
    what += [estimate(trace.total), " (clean: ", estimate(trace.clean), "; "]
    how = "were held at their clean values one by one; paths between them were patched with "
    verb = "is" if dormant == 1 else "are"
    return join(
        tag(
            "p",
            what,
            tag("code", trace.pairs),
            f", {counted(trace.n, trace.n_pairs)}). Components{where} {how}{trace.policy}.",
        ),
        tag(
            "p",
            f"The {len(shown)} drawn edges carry ",
            share(trace.explained),
            " of the effect when all else is held at clean. ",
            tag("strong", f"{dormant} of them {verb} dormant") if dormant else None,
            f"{_kinds(shown)}." if dormant else "None of them is dormant.",
        ),
    )


def _dormant(record: TraceRecord) -> Iterator[tuple[str, list[TraceEdge]]]:
    """The drawn dormant edges of each kind, under a heading that is so of them all."""
    for asleep, said in HEADINGS.items():
        edges = [e for e in record.edges if e.dormant and e.shown and e.asleep == asleep]
        if edges:
            yield f"Dormant edges: {said}", edges


def _kinds(edges: list[TraceEdge]) -> str:
    """How many are dormant where: `: 2 on the data, 1 under the patch`."""
    counts = Counter(WHERE[edge.asleep] for edge in edges if edge.dormant and edge.asleep)
    return f": {', '.join(f'{n} {where}' for where, n in counts.items())}" if counts else ""


def _largest(nodes: list[TraceNode]) -> list[TraceNode]:
    return sorted(nodes, key=lambda node: -_strength(node))


def _strength(node: TraceNode) -> float:
    return 0.0 if node.share is None else abs(node.share.mean)


def _components(nodes: list[TraceNode], caption: Content) -> Html:
    rows: list[list[Content]] = [
        [
            tag("code", node.id),
            share(node.share) if node.share else None,
            estimate(node.mediated) if node.mediated else None,
        ]
        for node in nodes
    ]
    columns = ["component", "share of the effect that goes", "in the metric's unit"]
    return table(columns, rows, caption, class_="numbers few")


def _edges(edges: list[TraceEdge], caption: Content) -> Html:
    rows: list[list[Content]] = [
        [
            tag("code", f"{edge.sender} → {edge.receiver}"),
            _effect(edge.share, edge.effect),
            _effect(edge.natural_share, edge.natural),
            tag("span", dormant_as(edge), class_="badge") if edge.dormant else "",
        ]
        for edge in edges
    ]
    columns = ["edge", "under the intervention", "naturally, on the data", "note"]
    return table(columns, rows, caption, class_="numbers few")


def _effect(part: float, effect: Number) -> Html:
    return join(tag("b", percent(part)), " ", tag("span", estimate(effect), class_="interval"))
