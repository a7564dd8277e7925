"""Histograms of projections: a panel for each arm, all on one axis, a colour and line by class."""

from __future__ import annotations

import textwrap
from pathlib import Path

from rich.table import Table

from causaldsl.report.plots import LOOKS, save, subplots
from causaldsl.results.records import HistogramArm, HistogramRecord, Results, two_decimals


def plot_histogram(results: Results, name: str, path: Path) -> None:
    """Draw a histogram's arms below one another and write the picture."""
    record = results.histograms[name]
    size = (6.4, 0.7 + 1.5 * len(record.arms))
    figure, axes = subplots(size, len(record.arms), sharex=True)
    for (arm, found), axis in zip(record.arms.items(), axes, strict=True):
        for i, (cls, counted) in enumerate(found.classes.items()):
            colour, line = LOOKS[i % len(LOOKS)]
            share = [count / counted.n for count in counted.counts]
            axis.stairs(share, record.edges, fill=True, color=colour, alpha=0.18)
            axis.stairs(share, record.edges, color=colour, linestyle=line, label=cls, linewidth=1.4)
            axis.axvline(counted.mean, color=colour, linestyle=line, linewidth=0.8)
        title = textwrap.fill(f"{arm}: {found.label}{_apart(found)}", 96)
        axis.set_title(title, fontsize=8, loc="left")
        axis.set_ylabel("share", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(fontsize=7, frameon=False)
    axes[-1].set_xlabel("projection on the direction, at length 1", fontsize=8)
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}", fontsize=10)
    save(figure, path)


def histogram_table(name: str, record: HistogramRecord) -> Table:
    """Mean and spread of every class in every arm, and how far apart two classes are."""
    out = Table(title=f"{name}: projections by class", title_justify="left")
    two = any(arm.auc is not None for arm in record.arms.values())
    for column in ("arm", "class", "n", "mean", "sd", *(("AUC", "d") if two else ())):
        out.add_column(column, justify="left" if column in ("arm", "class") else "right")
    for arm, found in record.arms.items():
        for i, (cls, counted) in enumerate(found.classes.items()):
            mean, low, high = map(two_decimals, (counted.mean, counted.low, counted.high))
            row = [arm if i == 0 else "", cls, str(counted.n), f"{mean} \\[{low}, {high}]"]
            apart = [found.auc, found.d] if two and i == 0 else [None, None] if two else []
            shown = ["" if value is None else two_decimals(value) for value in apart]
            out.add_row(*row, two_decimals(counted.sd), *shown)
    return out


def _apart(arm: HistogramArm) -> str:
    if arm.auc is None:
        return ""
    d = "" if arm.d is None else f", d {two_decimals(arm.d)}"
    return f"  (AUC {two_decimals(arm.auc)}{d})"
