"""Numbers over loop variables as curves: mean and range over the other variables, a line each arm.

A table over one variable is drawn so by itself, a sweep or a larger table by `plot NAME by x`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from causaldsl.report.plots import LOOKS, save, subplots
from causaldsl.results.records import PlotRecord, Results

_WIDE = 20
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


@dataclass(frozen=True)
class Grid:
    """Cells to draw: ``cells[panel][arm]`` gives a number for each tuple of the axes' labels."""

    axes: dict[str, list[str]]
    cells: dict[str, dict[str, dict[tuple[str, ...], float]]]


def plot_curves(results: Results, plot: PlotRecord, path: Path) -> None:
    """Draw a table or sweep as curves and write the picture."""
    grid = _grid(results, plot)
    x_name = plot.by or next(iter(grid.axes))
    index, labels = list(grid.axes).index(x_name), grid.axes[x_name]
    others = [name for name in grid.axes if name != x_name]
    places = _places(labels)
    divisor = 1.0 if plot.relative is None else plot.relative
    figure, axes = subplots((6.4, 0.6 + 3.0 * len(grid.cells)), len(grid.cells))
    for (panel, arms), axis in zip(grid.cells.items(), axes, strict=True):
        for i, (arm, cells) in enumerate(arms.items()):
            by_x = defaultdict(list)
            for at, value in cells.items():
                by_x[at[index]].append(value / divisor)
            _line(axis, places, [by_x[label] for label in labels], arm, i)
        _axis(axis, places, labels)
        axis.set_xlabel(x_name, fontsize=8)
        divided = f" / ({plot.relative_to})" if plot.relative is not None else ""
        axis.set_ylabel((panel or plot.target) + divided, fontsize=8)
        if len(arms) > 1:
            axis.legend(fontsize=7, frameon=False)
    spread = f"; line: mean, band: range over {', '.join(others)}" if others else ""
    title = f"{plot.target}, {results.provenance.get('model', '')}{spread}"
    figure.suptitle(title, fontsize=9)
    save(figure, path)


def number_table(results: Results, name: str) -> Table:
    """A table's arms along its first variable: a number, or mean and range over the others."""
    table = results.tables[name]
    (first, labels), *others = table.axes.items()
    over = f": mean (range) over {', '.join(axis for axis, _ in others)}" if others else ""
    out = Table(title=f"{name}{over}", title_justify="left")
    for column in (first, *table.cells):
        out.add_column(column, justify="right")
    for label in labels:
        row = [label]
        for cells in table.cells.values():
            found = [cells[".".join(at)] for at in _keys(table.axes) if at[0] == label]
            mean = f"{sum(found) / len(found):.3g}"
            row.append(f"{mean} ({min(found):.3g}..{max(found):.3g})" if others else mean)
        out.add_row(*row)
    return out


def _line(axis: Any, places: list[float], values: list[list[float]], arm: str, number: int) -> None:
    colour, line = LOOKS[number % len(LOOKS)]
    means = [sum(v) / len(v) for v in values]
    axis.plot(places, means, color=colour, linestyle=line, marker="o", markersize=3, label=arm)
    if any(len(v) > 1 for v in values):
        lows, highs = [min(v) for v in values], [max(v) for v in values]
        axis.fill_between(places, lows, highs, color=colour, alpha=0.18, linewidth=0)
        for place, each in zip(places, values, strict=True):
            axis.plot([place] * len(each), each, ".", color=colour, markersize=3, alpha=0.6)


def _places(labels: list[str]) -> list[float]:
    """Where the labels stand: at their value if they are growing numbers, else one by one."""
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return [float(i) for i in range(len(labels))]
    growing = all(a < b for a, b in pairwise(numbers))
    return numbers if growing else [float(i) for i in range(len(labels))]


def _axis(axis: Any, places: list[float], labels: list[str]) -> None:
    if len(places) > 2 and places[0] > 0 and places[-1] / places[0] >= _WIDE:
        axis.set_xscale("log")
    step = max(1, len(labels) // 16)
    axis.set_xticks(places[::step], labels[::step], fontsize=7)
    axis.minorticks_off()
    axis.tick_params(axis="y", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", linewidth=0.4, alpha=0.5)


def _grid(results: Results, plot: PlotRecord) -> Grid:
    """A table's arms in one panel, or a sweep's in a panel for each metric."""
    name = plot.target
    if name in results.tables:
        table = results.tables[name]
        keys = _keys(table.axes)
        arms = {arm: {at: cells[".".join(at)] for at in keys} for arm, cells in table.cells.items()}
        return Grid(table.axes, {"": arms})
    sweep, measured = results.sweeps[name], results.measures[name]
    keys = _keys(sweep.axes)
    panels = {
        metric: {
            arm: {at: measured[f"{arm}[{'.'.join(at)}]"][metric].mean for at in keys}
            for arm in sweep.arms
        }
        for metric in ([plot.metric] if plot.metric else measured["clean"])
    }
    return Grid(sweep.axes, panels)


def _keys(axes: dict[str, list[str]]) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = [()]
    for labels in axes.values():
        keys = [(*key, label) for key in keys for label in labels]
    return keys
