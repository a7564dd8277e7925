"""Numbers over loop variables as curves: a line for each arm, with mean and range over the others.

A table over one variable is drawn so by itself, a sweep or a larger table by `plot NAME by x`.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise, product
from pathlib import Path
from typing import Any, TypeAlias

from causaldsl.report.plots import LOOKS, save, subplots
from causaldsl.results.records import PlotRecord, Results

_WIDE = 20
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


Panels: TypeAlias = dict[str, dict[str, dict[tuple[str, ...], float]]]
"""By panel and arm, a number for each tuple of the variables' labels."""


def plot_curves(results: Results, plot: PlotRecord, path: Path) -> None:
    """Draw a table or sweep as curves and write the picture."""
    variables, panels = _grid(results, plot)
    x_name = plot.by or next(iter(variables))
    index, labels = list(variables).index(x_name), variables[x_name]
    others = [name for name in variables if name != x_name]
    places = _places(labels)
    divisor = 1.0 if plot.relative is None else plot.relative
    figure, axes = subplots((6.4, 0.6 + 3.0 * len(panels)), len(panels))
    for (panel, arms), axis in zip(panels.items(), axes, strict=True):
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


def _grid(results: Results, plot: PlotRecord) -> tuple[dict[str, list[str]], Panels]:
    """The variables, and a table's arms in one panel, or a sweep's in one for each metric."""
    name = plot.target
    if name in results.tables:
        table = results.tables[name]
        keys = list(product(*table.axes.values()))
        arms = {arm: {at: cells[".".join(at)] for at in keys} for arm, cells in table.cells.items()}
        return table.axes, {"": arms}
    sweep, measured = results.sweeps[name], results.measures[name]
    keys = list(product(*sweep.axes.values()))
    panels = {
        metric: {
            arm: {at: measured[f"{arm}[{'.'.join(at)}]"][metric].mean for at in keys}
            for arm in sweep.arms
        }
        for metric in ([plot.metric] if plot.metric else measured["clean"])
    }
    return sweep.axes, panels
