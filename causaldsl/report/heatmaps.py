"""Sweeps as heatmaps: a panel for each metric and arm, all panels of a metric on one colour scale.

Colours show the change from the clean run; dots stand where it is not 0, with all looked at once.

The first loop variable runs along x; the second, if any, along y; further ones are joined with it.
A sweep over one variable has its arms along y; one over all heads of layers is layer by head.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from causaldsl.report.numbers import change
from causaldsl.report.plots import save, subplots
from causaldsl.results.records import Results, SweepRecord, TableRecord
from causaldsl.vocabulary.metrics import metric_named


@dataclass(frozen=True)
class _Panel:
    """One heatmap: ``cells`` names the arm of each cell, row by row."""

    title: str
    metric: str
    columns: list[str]
    rows: list[str]
    cells: list[list[str]]
    x_name: str
    y_name: str


def plot_sweep(results: Results, name: str, path: Path) -> None:
    """Draw a sweep's metrics and write the picture; its ending says the format."""
    table = results.measures[name]
    metrics = list(table["clean"])
    panels = _panels(results.sweeps[name], metrics)
    columns, rows = panels[0].columns, panels[0].rows
    width = min(14.0, 2.6 + 0.3 * len(columns))
    height = 0.8 + 0.26 * len(rows)
    figure, axes = subplots((width, 0.5 + height * len(panels)), len(panels))
    for panel, axis in zip(panels, axes, strict=True):
        values = [[change(table, cell, panel.metric) for cell in row] for row in panel.cells]
        everywhere = [change(table, cell, panel.metric) for cell in table if cell != "clean"]
        _draw(figure, axis, panel, values, _colours(panel.metric, everywhere))
        _mark(axis, panel, results.sweeps[name].differs.get(panel.metric, []))
    n = table["clean"][metrics[0]].n
    said = "changes from clean; dots: differs, by intervals for all cells at once"
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}, n = {n}", fontsize=10)
    figure.supxlabel(said, fontsize=7)
    save(figure, path)


def is_grid(table: TableRecord) -> bool:
    """Whether a table is over two variables that are no numbers, such as positions by positions."""
    numbers = [
        label.replace(".", "").isdigit() for labels in table.axes.values() for label in labels
    ]
    return len(table.axes) == 2 and not any(numbers)


def plot_grid(results: Results, name: str, path: Path) -> None:
    """Draw such a table, a panel for each arm, all on one scale: the second variable along x."""
    table = results.tables[name]
    (y_name, rows), (x_name, columns) = table.axes.items()
    size = min(14.0, 3.2 + 0.4 * len(columns)), 0.5 + (1.0 + 0.3 * len(rows)) * len(table.cells)
    figure, axes = subplots(size, len(table.cells))
    everything = [value for cells in table.cells.values() for value in cells.values()]
    most = max(map(abs, everything), default=1.0)
    below = min(everything, default=0.0) < 0
    colours = {"cmap": "RdBu_r", "vmin": -most} if below else {"cmap": "viridis", "vmin": 0.0}
    for (arm, cells), axis in zip(table.cells.items(), axes, strict=True):
        places = [[f"{row}.{column}" for column in columns] for row in rows]
        values = [[cells[place] for place in row] for row in places]
        panel = _Panel(arm, "", columns, rows, places, x_name, y_name)
        _draw(figure, axis, panel, values, {**colours, "vmax": max(most, 1e-9)})
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}", fontsize=10)
    save(figure, path)


def _panels(sweep: SweepRecord, metrics: list[str]) -> list[_Panel]:
    (first, labels), *others = sweep.axes.items()
    shown = {axis: sweep.shown.get(axis, labels) for axis, labels in sweep.axes.items()}
    by_head = None if others else _layers_and_heads(labels)
    if by_head is not None:
        columns, rows = by_head
        x_name, y_name = "layer", "head"
        places = [[f"{layer}.{head}" for layer in columns] for head in rows]
    elif others:
        _, *more = shown.values()
        columns, rows = shown[first], [" ".join(row).strip() for row in product(*more)]
        x_name, y_name = first, ", ".join(axis for axis, _ in others)
        at = product(*(labels for _, labels in others))
        places = [[".".join([label, *row]) for label in labels] for row in at]
    else:
        cells = [[f"{arm}[{label}]" for label in labels] for arm in sweep.arms]
        return [_Panel(m, m, shown[first], sweep.arms, cells, first, "") for m in metrics]
    panels = []
    for metric, arm in product(metrics, sweep.arms):
        cells = [[f"{arm}[{place}]" for place in row] for row in places]
        title = f"{arm}: {metric}" if arm else metric
        panels.append(_Panel(title, metric, columns, rows, cells, x_name, y_name))
    return panels


def _layers_and_heads(labels: list[str]) -> tuple[list[str], list[str]] | None:
    """Layers and heads, if the labels are all heads of some layers."""
    if not all("." in label and label.replace(".", "").isdigit() for label in labels):
        return None
    layers = sorted({label.partition(".")[0] for label in labels}, key=int)
    heads = sorted({label.partition(".")[2] for label in labels}, key=int)
    return (layers, heads) if len(layers) * len(heads) == len(labels) else None


def _colours(metric: str, values: list[float]) -> dict[str, Any]:
    """The colour scale of a metric's changes, centred on 0 if they have both signs."""
    if metric_named(metric).signed or min(values) < 0:
        limit = max(max(abs(value) for value in values), 1e-9)
        return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    return {"cmap": "viridis", "vmin": min(0.0, *values), "vmax": max(1e-9, *values)}


def _mark(axis: Any, panel: _Panel, marked: list[str]) -> None:
    """A dot on every cell that differs from the clean run."""
    found = [
        (x, y)
        for y, row in enumerate(panel.cells)
        for x, cell in enumerate(row)
        if cell in set(marked)
    ]
    if found:
        columns, rows = zip(*found, strict=True)
        axis.plot(columns, rows, ".", color="black", markersize=3, markeredgewidth=0)


def _draw(
    figure: Any, axis: Any, panel: _Panel, values: list[list[float]], colours: dict[str, Any]
) -> None:
    image = axis.imshow(values, aspect="auto", interpolation="nearest", **colours)
    axis.set_title(panel.title, fontsize=9, loc="left")
    axis.set_xlabel(panel.x_name, fontsize=8)
    axis.set_ylabel(panel.y_name, fontsize=8)
    step = max(1, len(panel.columns) // 32)
    axis.set_xticks(range(0, len(panel.columns), step), panel.columns[::step], fontsize=7)
    axis.set_yticks(range(len(panel.rows)), panel.rows, fontsize=7)
    axis.tick_params(length=2)
    bar = figure.colorbar(image, ax=axis, pad=0.01, fraction=0.05)
    bar.ax.tick_params(labelsize=7)
