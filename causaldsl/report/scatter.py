"""An attribution as a picture: the largest estimates, and the sample against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from causaldsl.report.numbers import with_interval
from causaldsl.report.plots import look, save, subplots
from causaldsl.results.numbers import Number
from causaldsl.results.routes import AttributedRecord, AttributionRecord
from causaldsl.vocabulary.metrics import named_with_unit

_BARS = 16


def plot_attribution(record: AttributionRecord, title: str, path: Path) -> None:
    """Draw it and write the picture; its ending says the format.

    Estimates are hollow, with dashed edges: they are no measurements.
    """
    best = record.largest[:_BARS]
    panels = 2 if record.drawn else 1
    bars = 1.0 + 0.22 * len(best)
    ratios = {"height_ratios": [bars, 3.4][:panels]}
    figure, axes = subplots((6.0, bars + 3.4 * (panels - 1)), panels, gridspec_kw=ratios)
    _bars(axes[0], best)
    axes[0].set_xlabel(f"estimated change of {named_with_unit(record.metric)}", fontsize=8)
    if record.drawn:
        _scatter(axes[1], record)
    shown = f"the {len(best)} largest of {record.count} estimates"
    if len(record.drawn) < record.count:
        shown += ", not measured"
    figure.suptitle(f"{title}\n{shown}", fontsize=9)
    save(figure, path)


def _bars(axis: Any, best: Sequence[AttributedRecord]) -> None:
    colour, _ = look(0)
    for row, one in enumerate(best):
        number = one.estimate
        axis.barh(row, number.mean, 0.62, facecolor="white", edgecolor=colour, linestyle="--")
        _whisker(axis, number, row)
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_yticks(range(len(best)), [one.name for one in best], fontsize=7)
    axis.set_ylim(len(best) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _whisker(axis: Any, number: Number, row: float) -> None:
    if number.low < number.high:
        ends = [number.low, number.high]
        axis.plot(ends, [row, row], color="black", linewidth=1, marker="|", markersize=4)


def _scatter(axis: Any, record: AttributionRecord) -> None:
    """Every one of the sample, with the line on which both agree."""
    measured = [one.exact.mean for one in record.drawn if one.exact is not None]
    estimates = [one.estimate.mean for one in record.drawn if one.exact is not None]
    colour, _ = look(1)
    axis.axline((0, 0), slope=1, color="black", linewidth=0.6, linestyle=":")
    axis.scatter(measured, estimates, s=14, color=colour, alpha=0.8)
    axis.set_xlabel("measured change", fontsize=8)
    axis.set_ylabel("estimate", fontsize=8)
    found = record.rank_correlation
    correlation = "withheld" if found is None else with_interval(found)
    said = f"{len(measured)} drawn from all; rank correlation {correlation}"
    if record.idle:
        said += f" of the {len(measured) - record.idle} that do something"
    axis.set_title(said, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
