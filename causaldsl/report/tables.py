"""Results as tables for the terminal."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.table import Table

from causaldsl.report.audit_tables import audit_tables
from causaldsl.report.curves import number_table
from causaldsl.report.histograms import histogram_table
from causaldsl.report.terminal import with_interval
from causaldsl.report.trace_tables import trace_tables
from causaldsl.results.records import Number, Results

_ROWS = 12


def print_results(results: Results, console: Console) -> None:
    """Every measure and sweep as a table, then learned subspaces, then the claims."""
    for name, table in results.measures.items():
        swept = name in results.sweeps
        _print(console, _sweep_table(results, name) if swept else _measure_table(name, table))
    for name in results.tables:
        _print(console, number_table(results, name))
    for name, histogram in results.histograms.items():
        _print(console, histogram_table(name, histogram))
    for part in (*trace_tables(results), *audit_tables(results)):
        _print(console, part)
    if any(subspace.effects for subspace in results.subspaces.values()):
        _print(console, _learned_table(results))
    if results.expectations:
        _print(console, _claims_table(results))
    for note in results.notes:
        console.print(f"note: {note}", style="yellow")


def _print(console: Console, part: RenderableType) -> None:
    """A part and an empty line. A table's title keeps its line, however narrow the table."""
    if isinstance(part, Table) and part.title is not None:
        console.print(part.title, style="table.title", soft_wrap=True, highlight=False)
        part.title = None
    console.print(part)
    console.print()


def _measure_table(name: str, table: dict[str, dict[str, Number]]) -> Table:
    metrics = list(next(iter(table.values())))
    n = next(iter(table.values()))[metrics[0]].n
    intervals = ", 95% bootstrap intervals" if n > 1 else ""
    out = Table(title=f"{name} (n = {n}{intervals})", title_justify="left")
    out.add_column("arm")
    for metric in metrics:
        out.add_column(metric, justify="right")
    for arm, numbers in table.items():
        out.add_row(arm, *(with_interval(numbers[metric]) for metric in metrics))
    return out


def _sweep_table(results: Results, name: str) -> Table:
    """The cells with the largest effect; all of them are in results.json and in the plot."""
    table = results.measures[name]
    cells = {cell: numbers for cell, numbers in table.items() if cell != "clean"}
    metrics = list(table["clean"])
    key = "fldd" if "fldd" in metrics else metrics[0]
    best = sorted(cells, key=lambda cell: -abs(cells[cell][key].mean))[:_ROWS]
    n = table["clean"][key].n
    shown = f"the {len(best)} of {len(cells)} cells with the largest |{key}|"
    out = Table(title=f"{name} (n = {n}): {shown}", title_justify="left")
    out.add_column(", ".join(results.sweeps[name].axes))
    for metric in metrics:
        out.add_column(metric, justify="right")
    for cell in ["clean", *best]:
        out.add_row(
            cell.replace("[", " ").strip(" ]"),
            *(with_interval(table[cell][metric]) for metric in metrics),
        )
    return out


def _learned_table(results: Results) -> Table:
    out = Table(title="Learned subspaces: effect in training and held out", title_justify="left")
    for column in (
        "subspace",
        "pairs",
        "fldd",
        "interchange_accuracy",
        "loss, first to last epoch",
    ):
        out.add_column(column, justify="left" if column in ("subspace", "pairs") else "right")
    for name, subspace in results.subspaces.items():
        for part, metrics in (subspace.effects or {}).items():
            losses = subspace.losses or []
            curve = f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses and part == "train" else ""
            out.add_row(
                name if part == "train" else "",
                part,
                with_interval(metrics["fldd"]),
                with_interval(metrics["interchange_accuracy"]),
                curve,
            )
    return out


def _claims_table(results: Results) -> Table:
    out = Table(title="Claims", title_justify="left")
    for column in ("", "claim", "left", "right"):
        out.add_column(column, justify="right" if column in ("left", "right") else "left")
    for claim in results.expectations:
        compared = (f"{claim.left:.4g}", f"{claim.right:.4g}")
        sides = compared if claim.found is None else (claim.found, "")
        mark = "[green]held[/green]" if claim.held else "[bold red]FELL[/bold red]"
        out.add_row(mark, claim.text.replace("[", "\\["), *sides)
    return out
