"""Forest plots: a number in each run with its interval, and over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from causaldsl.report.plots import save, subplots

_MOST = 40
"""Panels at most; the record has all numbers."""


def draw_forest(numbers: Mapping[str, Any], path: Path) -> None:
    """A panel for each number of :meth:`Grid.numbers`: runs from top to bottom, and their mean."""
    shown = dict(list(numbers.items())[:_MOST])
    rows = max(len(number["runs"]) for number in shown.values()) + 1
    figure, axes = subplots((6.4, len(shown) * (0.7 + 0.2 * rows)), len(shown))
    for (name, number), axis in zip(shown.items(), axes, strict=True):
        _panel(axis, name, number)
    save(figure, path)


def _panel(axis: Any, name: str, number: Mapping[str, Any]) -> None:
    labels = list(number["runs"])
    for row, run in enumerate(number["runs"].values()):
        if all(math.isfinite(run[end]) for end in ("mean", "low", "high")):
            axis.plot([run["low"], run["high"]], [row, row], color="#444444", linewidth=1)
            axis.plot([run["mean"]], [row], "s", color="#444444", markersize=3)
    if (mean := number["combined"]) is not None:
        row = len(labels)
        labels.append(f"all, I² {100 * mean['i2']:.0f}%")
        corners = [mean["low"], mean["mean"], mean["high"], mean["mean"]]
        axis.fill(corners, [row, row - 0.3, row, row + 0.3], color="#1f5fa8")
    axis.axvline(0, color="#999999", linewidth=0.6)
    axis.set_yticks(range(len(labels)), labels, fontsize=6)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_title(name, fontsize=7, loc="left")
    axis.tick_params(axis="x", labelsize=6)
