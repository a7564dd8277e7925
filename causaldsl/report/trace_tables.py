"""Traces and comparisons of traces as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from causaldsl.report.terminal import with_interval
from causaldsl.results.records import (
    ComparisonRecord,
    Number,
    Results,
    TraceNode,
    TraceRecord,
    two_decimals,
)

_ROWS = 12


def trace_tables(results: Results) -> Iterator[Table]:
    """Of each trace its summary, components and edges; then the comparisons."""
    for name, trace in results.traces.items():
        yield _summary(name, trace)
        yield _components(name, trace)
        if any(edge.shown for edge in trace.edges):
            yield _edges(name, trace)
    for name, comparison in results.comparisons.items():
        yield _comparison(name, comparison)


def _summary(name: str, trace: TraceRecord) -> Table:
    out = _titled(f"{name}: {trace.does}, {trace.pairs} (n = {trace.n})")
    out.add_column(trace.metric)
    out.add_column("mean", justify="right")
    out.add_row("clean", with_interval(trace.clean))
    out.add_row("total effect", with_interval(trace.total))
    out.add_row("share that the shown edges carry", _share(trace.explained))
    return out


def _components(name: str, trace: TraceRecord) -> Table:
    best = sorted(trace.components, key=_strength)[:_ROWS]
    shown = f"the {len(best)} of {len(trace.components)} components that mediate most"
    out = _titled(f"{name}: {shown}")
    for column in ("component", "position", "goes when held at clean", "share of total"):
        out.add_column(column, justify="left" if column in ("component", "position") else "right")
    for node in best:
        out.add_row(
            _label(node),
            node.position,
            "" if node.mediated is None else with_interval(node.mediated),
            "" if node.share is None else _share(node.share),
        )
    return out


def _edges(name: str, trace: TraceRecord) -> Table:
    shown = sorted((edge for edge in trace.edges if edge.shown), key=lambda e: -abs(e.share))
    dormant = sum(edge.dormant for edge in shown)
    out = _titled(
        f"{name}: {len(shown)} of {len(trace.edges)} edges, {dormant} dormant; {trace.policy}"
    )
    for column in ("from", "to", "effect", "share", "natural effect", "natural share", ""):
        out.add_column(column, justify="left" if column in ("from", "to", "") else "right")
    for edge in shown:
        out.add_row(
            edge.sender,
            edge.receiver,
            with_interval(edge.effect),
            _percent(edge.share),
            with_interval(edge.natural),
            _percent(edge.natural_share),
            "[bold]DORMANT[/bold]" if edge.dormant else "",
        )
    return out


def _comparison(name: str, comparison: ComparisonRecord) -> Table:
    best = sorted(
        comparison.rows, key=lambda row: -max(abs(row.left.mean), abs(row.right.mean))
    )[:_ROWS]  # fmt: skip
    out = _titled(
        f"{name}: rank correlation {two_decimals(comparison.rank_correlation)} over "
        f"{len(comparison.rows)} components; mediated share of each total"
    )
    for column in ("component", comparison.left, comparison.right):
        out.add_column(escape(column), justify="left" if column == "component" else "right")
    for row in best:
        out.add_row(row.component, _share(row.left), _share(row.right))
    return out


def _titled(title: str) -> Table:
    return Table(title=escape(title), title_justify="left")


def _label(node: TraceNode) -> str:
    return f"MLP {node.layer}" if node.kind == "mlp" else f"{node.layer}.{node.head}"


def _strength(node: TraceNode) -> tuple[float, str]:
    return (0.0 if node.share is None else -abs(node.share.mean)), node.id


def _share(number: Number) -> str:
    mean, low, high = map(_percent, (number.mean, number.low, number.high))
    return mean if number.n == 1 else f"{mean} \\[{low}, {high}]"


def _percent(share: float) -> str:
    text = f"{share:.0%}"
    return "0%" if text == "-0%" else text
