"""Numbers over loop variables as curves: a line for each arm, with mean and range over the others.

A table over one variable is drawn so by itself, a sweep or a larger table by `plot NAME by x`. With
`lines y` every value of another variable has a line of its own. Where each point is one number, its
band is that number's interval, as wide as all of them need to hold at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from causaldsl.report.numbers import WITHHELD
from causaldsl.report.plots import axis_name, label_x, look, save, subplots
from causaldsl.results.records import PlotRecord, Results, SweepRecord, TableRecord
from causaldsl.vocabulary.metrics import named_with_unit

_WIDE = 20
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""
_NO_ORDER = ("seed", "head")
"""What has a number and no order: nothing lies between two of them."""
_MOST_BANDS = 7
"""More lines than these have no bands, which would cover one another."""


class Point(NamedTuple):
    """A number and the ends of its interval, which are the number itself where it has none."""

    value: float
    low: float
    high: float


Cells: TypeAlias = dict[tuple[str, ...], Point]
"""A number for each tuple of the variables' labels."""


@dataclass(frozen=True)
class _Panel:
    """What the numbers are, and the cells of each arm."""

    quantity: str
    arms: dict[str, Cells]


def plot_curves(results: Results, plot: PlotRecord, path: Path) -> None:
    """Draw a table or sweep as curves and write the picture."""
    record = results.tables.get(plot.target) or results.sweeps[plot.target]
    panels = _panels(results, record, plot)
    variables = list(record.axes)
    x_name = plot.by or next(name for name in variables if name != plot.lines)
    others = [name for name in variables if name not in (x_name, plot.lines)]
    labels = record.axes[x_name]
    banded, joined = False, record.quantities.get(x_name) not in _NO_ORDER
    places = _places(labels, joined)
    figure, axes = subplots((6.4, 0.6 + 3.0 * len(panels)), len(panels))
    for panel, axis in zip(panels, axes, strict=True):
        lines = _lines(panel.arms, record, plot.lines)
        few = len(lines) <= _MOST_BANDS
        for number, (name, cells) in enumerate(lines.items()):
            by_x = defaultdict(list)
            for at, point in cells.items():
                by_x[at[variables.index(x_name)]].append(point)
            points = [by_x[label] for label in labels]
            banded |= _line(axis, places, points, name, number, few, joined)
        _axis(axis, places, _shown(record, x_name), joined)
        axis.set_xlabel(axis_name(x_name, record.quantities), fontsize=8)
        axis.set_ylabel(panel.quantity, fontsize=8)
        if len(lines) > 1:
            _legend(axis, plot.lines and axis_name(plot.lines, record.quantities))
    said = f"; line: mean{', band' if banded else ', dots'}: range over {', '.join(others)}"
    if not joined:
        said = f"; dots: means, bars: range over {', '.join(others)}"
    if not others:
        bands = "bands" if joined else "bars"
        said = f"; {bands}: 95% intervals, for all points at once" if banded else ""
    title = f"{plot.target}, {results.provenance.get('model', '')}{said}"
    figure.suptitle(title, fontsize=9)
    save(figure, path)


def _line(
    axis: Any,
    places: list[float],
    points: list[list[Point]],
    name: str,
    number: int,
    bands: bool = True,
    joined: bool = True,
) -> bool:
    """A line through the means at each place; whether it has a band, if it may have one.

    Places that have no order are not joined, and each has its interval for itself.
    """
    colour, dashes = look(number)
    means = [sum(p.value for p in each) / len(each) for each in points]
    dashes = dashes if joined else "none"
    axis.plot(places, means, color=colour, linestyle=dashes, marker="o", markersize=3, label=name)
    several = any(len(each) > 1 for each in points)
    lows = [min(p.value if several else p.low for p in each) for each in points]
    highs = [max(p.value if several else p.high for p in each) for each in points]
    if several:
        for place, each in zip(places, points, strict=True):
            values = [p.value for p in each]
            axis.plot([place] * len(each), values, ".", color=colour, markersize=3, alpha=0.6)
    if all(math.isnan(mean) for mean in means):
        axis.annotate(WITHHELD, (0.5, 0.5), xycoords="axes fraction", fontsize=8, ha="center")
    banded = (several or lows != highs) and bands
    if banded and not joined:
        axis.vlines(places, lows, highs, color=colour, alpha=0.6, linewidth=1)
    elif banded:
        axis.fill_between(places, lows, highs, color=colour, alpha=0.18, linewidth=0)
    return banded


def _lines(
    arms: Mapping[str, Cells], record: SweepRecord | TableRecord, variable: str | None
) -> dict[str, Cells]:
    """The cells of every line: those of an arm, and of one value of a variable if it has lines."""
    if variable is None:
        return dict(arms)
    index = list(record.axes).index(variable)
    names = zip(record.axes[variable], _shown(record, variable), strict=True)
    return {
        f"{arm} {shown}" if len(arms) > 1 else shown: {
            at: point for at, point in cells.items() if at[index] == label
        }
        for (label, shown), (arm, cells) in product(names, arms.items())
    }


def _shown(record: SweepRecord | TableRecord, variable: str) -> list[str]:
    """The values of a variable as a reader sees them: a token index with its tokens."""
    shown = record.shown if isinstance(record, SweepRecord) else {}
    return shown.get(variable, record.axes[variable])


def _legend(axis: Any, title: str | None) -> None:
    """Beside the panel, where it covers no point and no bar."""
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    axis.legend(fontsize=7, frameon=False, title=title, title_fontsize=7, **beside)


def _places(labels: list[str], ordered: bool) -> list[float]:
    """Where the labels stand: at their value if they are growing numbers, else one by one.

    A head `23.7` is no number between 23 and 24, and a seed is a name.
    """
    if not ordered:
        return [float(i) for i in range(len(labels))]
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return [float(i) for i in range(len(labels))]
    growing = all(a < b for a, b in pairwise(numbers))
    return numbers if growing else [float(i) for i in range(len(labels))]


def _axis(axis: Any, places: list[float], labels: list[str], ordered: bool) -> None:
    if ordered and len(places) > 2 and places[0] > 0 and places[-1] / places[0] >= _WIDE:
        axis.set_xscale("log")
    label_x(axis, places, labels, 16)
    axis.minorticks_off()
    axis.tick_params(axis="y", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", linewidth=0.4, alpha=0.5)


def _panels(results: Results, record: SweepRecord | TableRecord, plot: PlotRecord) -> list[_Panel]:
    """A table's arms in one panel, a sweep's in one for each metric."""
    if isinstance(record, TableRecord):
        arms = {arm: _of_table(record, arm) for arm in record.cells}
        of = set(record.of.values()) if len(record.of) == len(arms) else set()
        panels = [_Panel(of.pop() if len(of) == 1 else plot.target, arms)]
    else:
        named = named_with_unit if plot.relative is None else str  # a ratio has no unit
        metrics = [plot.metric] if plot.metric else list(results.measures[plot.target]["clean"])
        panels = [
            _Panel(named(metric), _of_sweep(results, plot.target, metric)) for metric in metrics
        ]
    if plot.relative is None:
        return panels
    return [_divided(panel, plot.relative, plot.relative_to) for panel in panels]


def _of_table(record: TableRecord, arm: str) -> Cells:
    """An arm's numbers, with their intervals, if they have any, widened to hold at once."""
    intervals, wider = record.intervals.get(arm, {}), record.simultaneous.get(arm, 1.0)
    found = {}
    for at in product(*record.axes.values()):
        value = record.cells[arm][".".join(at)]
        low, high = intervals.get(".".join(at), (value, value))
        found[at] = Point(value, value - wider * (value - low), value + wider * (high - value))
    return found


def _of_sweep(results: Results, name: str, metric: str) -> dict[str, Cells]:
    """A metric of every arm, with intervals for all cells at once."""
    sweep, measured = results.sweeps[name], results.measures[name]
    cells = [cell for cell in measured if cell != "clean"]
    halves: Sequence[float] = sweep.simultaneous.get(metric) or [0.0] * len(cells)
    half = dict(zip(cells, halves, strict=True))
    found: dict[str, Cells] = {}
    for arm, at in product(sweep.arms, product(*sweep.axes.values())):
        cell = f"{arm}[{'.'.join(at)}]"
        mean = measured[cell][metric].mean
        found.setdefault(arm, {})[at] = Point(mean, mean - half[cell], mean + half[cell])
    return found


def _divided(panel: _Panel, by: float, said: str) -> _Panel:
    """All numbers relative to one, without intervals, which would not be those of the ratio."""
    arms = {
        arm: {at: Point(*(3 * [point.value / by])) for at, point in cells.items()}
        for arm, cells in panel.arms.items()
    }
    return _Panel(f"{panel.quantity} / ({said})", arms)
