"""Sweeps as heatmaps: a panel for each metric and arm, all panels of a metric on one colour scale.

Colours show the change from the clean run; dots stand where it is not 0, with all looked at once.

The first loop variable runs along x; the second, if any, along y; further ones are joined with it.
A sweep over one variable has its arms along y; one over all heads of layers is layer by head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from causaldsl.report.html.tables import Arms
from causaldsl.report.numbers import WITHHELD, measured, plain
from causaldsl.report.plots import Area, axis_name, colours, label_x, save, subplots, turned
from causaldsl.results.records import Results, SweepRecord, TableRecord
from causaldsl.vocabulary.metrics import named_with_unit

_BESIDE = 0.065
"""Inches that a character takes of what is written along a colour bar, with room at the ends."""


@dataclass(frozen=True)
class _Panel:
    """One heatmap: ``cells`` names the arm of each cell, row by row; ``quantity`` its numbers."""

    title: str
    metric: str
    columns: list[str]
    rows: list[str]
    cells: list[list[str]]
    x_name: str
    y_name: str
    quantity: str


def plot_sweep(results: Results, name: str, path: Path) -> None:
    """Draw a sweep's metrics and write the picture; its ending says the format."""
    table = results.measures[name]
    metrics = list(table["clean"])
    panels = _panels(results.sweeps[name], metrics)
    columns, rows = panels[0].columns, panels[0].rows
    width = min(14.0, max(4.4, 2.6 + 0.3 * len(columns)))
    height = 0.8 + 0.26 * len(rows) + turned(columns)
    height = max(height, *(_BESIDE * len(panel.quantity) for panel in panels))
    figure, axes = subplots((width, 0.5 + height * len(panels)), len(panels))
    areas: list[Area] = []
    for panel, axis in zip(panels, axes, strict=True):
        values = [[_change(table, cell, panel.metric) for cell in row] for row in panel.cells]
        everywhere = [_change(table, cell, panel.metric) for cell in table if cell != "clean"]
        _draw(figure, axis, panel, values, colours(everywhere))
        marked = results.sweeps[name].differs.get(panel.metric, [])
        _mark(axis, panel, marked)
        numbers = {
            cell: measured(of[panel.metric], panel.metric, cell in marked)
            for cell, of in table.items()
        }
        areas += _areas(axis, panel, numbers)
    n = table["clean"][metrics[0]].n
    said = "changes from clean; dots: differs, by intervals for all cells at once"
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}, n = {n}", fontsize=10)
    figure.supxlabel(said, fontsize=7)
    save(figure, path, areas)


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
    height = 1.0 + 0.3 * len(rows) + turned(columns)
    size = min(14.0, 3.2 + 0.4 * len(columns)), 0.5 + height * len(table.cells)
    figure, axes = subplots(size, len(table.cells))
    scale = colours(value for cells in table.cells.values() for value in cells.values())
    areas: list[Area] = []
    for (arm, cells), axis in zip(table.cells.items(), axes, strict=True):
        places = [[f"{row}.{column}" for column in columns] for row in rows]
        values = [[cells[place] for place in row] for row in places]
        names = axis_name(x_name, table.quantities), axis_name(y_name, table.quantities)
        panel = _Panel(arm, "", columns, rows, places, *names, table.of.get(arm, arm))
        _draw(figure, axis, panel, values, scale)
        areas += _areas(axis, panel, {place: plain(value) for place, value in cells.items()})
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}", fontsize=10)
    save(figure, path, areas)


def _panels(sweep: SweepRecord, metrics: list[str]) -> list[_Panel]:
    (first, labels), *others = sweep.axes.items()
    shown = {axis: sweep.shown.get(axis, labels) for axis, labels in sweep.axes.items()}
    named = [axis_name(axis, sweep.quantities) for axis in sweep.axes]
    by_head = None if others else _layers_and_heads(labels)
    if by_head is not None:
        columns, rows = by_head
        x_name, y_name = "layer", "head"
        places = [[f"{layer}.{head}" for layer in columns] for head in rows]
    elif others:
        _, *more = shown.values()
        columns, rows = shown[first], [" ".join(row).strip() for row in product(*more)]
        x_name, y_name = named[0], ", ".join(named[1:])
        at = product(*(labels for _, labels in others))
        places = [[".".join([label, *row]) for label in labels] for row in at]
    else:
        cells = [[f"{arm}[{label}]" for label in labels] for arm in sweep.arms]
        return [
            _Panel(m, m, shown[first], sweep.arms, cells, named[0], "", _change_of(m))
            for m in metrics
        ]
    panels = []
    for metric, arm in product(metrics, sweep.arms):
        cells = [[f"{arm}[{place}]" for place in row] for row in places]
        title = f"{arm}: {metric}" if arm else metric
        said = _change_of(metric)
        panels.append(_Panel(title, metric, columns, rows, cells, x_name, y_name, said))
    return panels


def _layers_and_heads(labels: list[str]) -> tuple[list[str], list[str]] | None:
    """Layers and heads, if the labels are all heads of some layers."""
    if not all("." in label and label.replace(".", "").isdigit() for label in labels):
        return None
    layers = sorted({label.partition(".")[0] for label in labels}, key=int)
    heads = sorted({label.partition(".")[2] for label in labels}, key=int)
    return (layers, heads) if len(layers) * len(heads) == len(labels) else None


def _change(arms: Arms, arm: str, metric: str) -> float:
    """How far a metric of an arm lies from that of the clean run; nan where it is withheld."""
    return arms[arm][metric].mean - arms["clean"][metric].mean


def _change_of(metric: str) -> str:
    return f"change of {named_with_unit(metric)}"


def _areas(axis: Any, panel: _Panel, numbers: Mapping[str, str]) -> list[Area]:
    """Each cell with its place and its number."""
    found = []
    for y, (row, cells) in enumerate(zip(panel.rows, panel.cells, strict=True)):
        for x, (column, cell) in enumerate(zip(panel.columns, cells, strict=True)):
            at = f"{panel.x_name} {column}, {panel.y_name} {row}".rstrip(" ,")
            says = f"{panel.title}, {at}: {numbers[cell]}"
            found.append(Area(axis, x - 0.5, x + 0.5, y - 0.5, y + 0.5, says))
    return found


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
    figure: Any, axis: Any, panel: _Panel, values: list[list[float]], scale: dict[str, Any]
) -> None:
    image = axis.imshow(values, aspect="auto", interpolation="nearest", **scale)
    axis.set_facecolor("#dddddd")  # what is withheld has no colour
    nothing = all(math.isnan(value) for row in values for value in row)
    title = f"{panel.title}: {WITHHELD}" if nothing else panel.title
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_xlabel(panel.x_name, fontsize=8)
    axis.set_ylabel(panel.y_name, fontsize=8)
    label_x(axis, range(len(panel.columns)), panel.columns, 32)
    axis.set_yticks(range(len(panel.rows)), panel.rows, fontsize=7)
    axis.tick_params(length=2)
    if nothing:
        return
    bar = figure.colorbar(image, ax=axis, pad=0.01, fraction=0.05)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(panel.quantity, fontsize=7)
