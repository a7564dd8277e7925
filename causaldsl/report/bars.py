"""A measure as bars: a panel for each metric, a bar with its interval for each arm.

A line stands at the clean run's number, so that what an arm changes is what lies between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from causaldsl.report.numbers import WITHHELD
from causaldsl.report.plots import look, save, subplots
from causaldsl.results.records import Number, Results
from causaldsl.vocabulary.metrics import named_with_unit

_CLEAN = "#444444"


def plot_bars(results: Results, name: str, path: Path) -> None:
    """Draw a measure's metrics and write the picture; its ending says the format."""
    arms = results.measures[name]
    metrics = list(arms["clean"])
    n = arms["clean"][metrics[0]].n
    panel = 0.9 + 0.24 * len(arms)
    figure, axes = subplots((6.4, 0.5 + panel * len(metrics)), len(metrics))
    for metric, axis in zip(metrics, axes, strict=True):
        _bars(axis, {arm: row[metric] for arm, row in arms.items()})
        axis.set_xlabel(named_with_unit(metric), fontsize=8)
    intervals = ", 95% intervals" if n > 1 else ""
    model = results.provenance.get("model", "")
    figure.suptitle(f"{name}, {model}, n = {n}{intervals}; line: clean", fontsize=9)
    save(figure, path)


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
