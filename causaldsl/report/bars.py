"""A measure as bars: a panel for each metric, a bar with its interval for each arm.

A line stands at the clean run's number, so that what an arm changes is what lies between. Where
pairs are from several templates, a dot stands for each one's number of the headline metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from causaldsl.report.numbers import WITHHELD, measured
from causaldsl.report.plots import Area, look, save, subplots
from causaldsl.results.numbers import Number
from causaldsl.results.records import Results
from causaldsl.vocabulary.metrics import named_with_unit

_CLEAN = "#444444"
_DOT: Mapping[str, Any] = {
    "linestyle": "none", "marker": "o", "markersize": 3, "color": "white",
    "markeredgecolor": "black", "markeredgewidth": 0.7,
}  # fmt: skip


def plot_bars(results: Results, name: str, path: Path) -> None:
    """Draw a measure's metrics and write the picture; its ending says the format."""
    arms = results.measures[name]
    metrics = list(arms["clean"])
    n = arms["clean"][metrics[0]].n
    panel = 0.9 + 0.24 * len(arms)
    figure, axes = subplots((6.4, 0.5 + panel * len(metrics)), len(metrics))
    of_templates, areas = results.templates.get(name), list[Area]()
    for metric, axis in zip(metrics, axes, strict=True):
        _bars(axis, {arm: row[metric] for arm, row in arms.items()})
        if of_templates is not None and of_templates.metric == metric:
            _dots(axis, [of_templates.arms.get(arm, []) for arm in arms])
        left, right = axis.get_xlim()
        areas += [
            Area(axis, left, right, row - 0.5, row + 0.5, f"{arm}: {measured(of[metric], metric)}")
            for row, (arm, of) in enumerate(arms.items())
        ]
        axis.set_xlabel(named_with_unit(metric), fontsize=8)
    intervals = ", 95% intervals" if n > 1 else ""
    model = results.provenance.get("model", "")
    dots = "" if of_templates is None else "; dots: templates"
    figure.suptitle(f"{name}, {model}, n = {n}{intervals}; line: clean{dots}", fontsize=9)
    save(figure, path, areas)


def _dots(axis: Any, of_arms: Sequence[Sequence[float | None]]) -> None:
    """A dot for each template's number of an arm."""
    for row, values in enumerate(of_arms):
        found = [value for value in values if value is not None]
        axis.plot(found, [row + 0.2] * len(found), **_DOT)


def _bars(axis: Any, numbers: Mapping[str, Number]) -> None:
    """A bar for each arm, the first on top. One that is withheld has its word in place of a bar."""
    colour, _ = look(0)
    for row, (arm, number) in enumerate(numbers.items()):
        if math.isnan(number.mean):
            axis.annotate(f" {WITHHELD}", (0, row), fontsize=7, va="center")
            continue
        axis.barh(row, number.mean, height=0.62, color=_CLEAN if arm == "clean" else colour)
        ends = [end for end in (number.low, number.high) if math.isfinite(end)]
        if len(ends) == 2 and number.low < number.high:
            axis.plot(ends, [row, row], color="black", linewidth=1, marker="|", markersize=5)
    axis.axvline(0, color="black", linewidth=0.6)
    if math.isfinite(numbers["clean"].mean):
        axis.axvline(numbers["clean"].mean, color=_CLEAN, linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(numbers)), list(numbers), fontsize=7)
    axis.set_ylim(len(numbers) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=7)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(axis="x", linewidth=0.4, alpha=0.5)
    axis.set_axisbelow(True)
