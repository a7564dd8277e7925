"""Histograms of projections: a panel for each arm, a colour and line by class.

Arms at one place are on one axis; those at another place have their own, since activations there
have another size.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from causaldsl.check.checked import Output
from causaldsl.report.html.figures import estimate
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import table
from causaldsl.report.kinds.base import Draw, Kind, Named, Options, kind
from causaldsl.report.numbers import places_of, plain, two_decimals
from causaldsl.report.plots import look, save, subplots
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.numbers import Number
from causaldsl.results.records import HistogramArm, HistogramClass, HistogramRecord, Results


@kind
class Histograms(Kind[HistogramRecord]):
    fields = ("histograms",)
    terminal_place = 30
    page_place = 60
    operand = "histogram"

    def tables(self, results: Results, name: str, record: HistogramRecord) -> Iterator[Table]:
        """Mean and spread of every class in every arm, and how far apart two classes are."""
        two = any(arm.auc is not None for arm in record.arms.values())
        columns = ["n", "mean", "sd", *(("AUC", "d") if two else ())]
        out = titled(f"{name}: projections by class", ["arm", "class"], columns)
        for arm, found in record.arms.items():
            for i, (cls, counted) in enumerate(found.classes.items()):
                mean, low, high = map(two_decimals, (counted.mean, counted.low, counted.high))
                row = [
                    arm if i == 0 else "",
                    cls,
                    str(counted.n),
                    f"{mean} [{low}, {high}]",
                ]
                apart = [found.auc, found.d] if two and i == 0 else [None, None] if two else []
                shown = ["" if value is None else two_decimals(value) for value in apart]
                out.add_row(*row, two_decimals(counted.sd), *shown)
        yield out

    def panel(self, view: View, name: str, record: HistogramRecord) -> Html:
        """A row for every class in every arm; how far two classes are apart stands at the first."""
        numbers = [_mean(c) for arm in record.arms.values() for c in arm.classes.values()]
        places = places_of(numbers)
        rows = [row for arm, found in record.arms.items() for row in _rows(arm, found, places)]
        columns = ["arm", "class", "mean of the projection", "sd", "n", "AUC", "Cohen's d"]
        caption = join(tag("b", name), ": projections by class, 95% intervals of the mean")
        return table(columns, rows, caption, class_="numbers few")

    def draw(self, view: View, name: str, record: HistogramRecord, asked: Output | None) -> Draw:
        return partial(plot_histogram, view.results, name)

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        """The mean of a class in an arm."""
        if options.get("statistic") != "mean" or name not in results.histograms:
            return None
        arm, cls = options["arm"], options["cls"]
        return f"{name}.{arm}.{cls}.mean", _mean(results.histograms[name].arms[arm].classes[cls])


def plot_histogram(results: Results, name: str, path: Path) -> None:
    """Draw a histogram's arms below one another and write the picture."""
    record = results.histograms[name]
    size = (6.4, 0.7 + 1.7 * len(record.arms))
    figure, axes = subplots(size, len(record.arms))
    first: dict[tuple[float, ...], Any] = {}
    outlines: dict[str, Any] = {}
    for (arm, found), axis in zip(record.arms.items(), axes, strict=True):
        alike = first.setdefault(tuple(found.edges), axis)
        if alike is not axis:
            axis.sharex(alike)
        for i, (cls, counted) in enumerate(found.classes.items()):
            colour, line = look(i)
            share = [count / counted.n for count in counted.counts]
            axis.stairs(share, found.edges, fill=True, color=colour, alpha=0.18)
            outline = axis.stairs(share, found.edges, color=colour, linestyle=line, linewidth=1.4)
            outlines[cls] = outline
            axis.axvline(counted.mean, color=colour, linestyle=line, linewidth=0.8)
        title = textwrap.fill(f"{arm}: {found.label}{_apart(found)}", 96)
        axis.set_title(title, fontsize=8, loc="left", parse_math=False)
        axis.set_ylabel("share", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}  # where it covers nothing
    legend = axes[0].legend(outlines.values(), outlines, fontsize=7, frameon=False, **beside)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a class may have dollar signs
    axes[-1].set_xlabel("projection on the direction, at length 1", fontsize=8)
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}", fontsize=10)
    save(figure, path)


def _rows(arm: str, found: HistogramArm, places: int) -> Iterator[list[Content]]:
    for i, (cls, counted) in enumerate(found.classes.items()):
        apart = [found.auc, found.d] if i == 0 else [None, None]
        yield [
            tag("code", arm) if i == 0 else join(tag("span", arm, class_="hidden")),
            tag("code", cls),
            estimate(_mean(counted), places),
            plain(counted.sd, places),
            str(counted.n),
            *("" if value is None else plain(value, 2) for value in apart),
        ]


def _apart(arm: HistogramArm) -> str:
    if arm.auc is None:
        return ""
    d = "" if arm.d is None else f", d {two_decimals(arm.d)}"
    return f"  (AUC {two_decimals(arm.auc)}{d})"


def _mean(counted: HistogramClass) -> Number:
    return Number(mean=counted.mean, n=counted.n, low=counted.low, high=counted.high)
