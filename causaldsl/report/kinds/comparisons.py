"""Two traces beside each other: the share that each component mediates in the one and the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.table import Table

from causaldsl.report.html.markup import Html, join, slug
from causaldsl.report.html.records import record_article
from causaldsl.report.html.svg import figure
from causaldsl.report.kinds.base import Kind, Picture, kind
from causaldsl.report.numbers import two_decimals, with_interval
from causaldsl.report.plots import save, subplots
from causaldsl.report.terminal import hyphened, titled
from causaldsl.report.view import View
from causaldsl.results.records import Results
from causaldsl.results.routes import ComparisonRecord, ComparisonRow

_ROWS, _BARS = 12, 16
_LEFT, _RIGHT = "#c44e00", "#0062a3"


@kind
class Comparisons(Kind[ComparisonRecord]):
    fields = ("comparisons",)
    title = "Comparisons of traces"
    terminal_place = 50
    page_place = 32

    def tables(self, results: Results, name: str, record: ComparisonRecord) -> Iterator[Table]:
        best = sorted(record.rows, key=lambda row: -_strength(row))[:_ROWS]
        correlation = two_decimals(record.rank_correlation)
        over = f"over {len(record.rows)} components; mediated share of each total"
        columns = [record.left, record.right]
        rows = (
            [row.component, *(with_interval(side, hyphened) for side in (row.left, row.right))]
            for row in best
        )
        yield titled(f"{name}: rank correlation {correlation} {over}", ["component"], columns, rows)

    def article(self, view: View, name: str, record: ComparisonRecord) -> Html:
        made = record_article("comparisons", name, record)
        return join(made, figure(view, slug(name), ".svg", name))

    def unasked(self, view: View) -> Iterator[Picture]:
        model = str(view.results.provenance.get("model", ""))
        for name, record in view.results.comparisons.items():
            draw = partial(plot_comparison, record, model)
            yield Picture(draw, slug(name), ".svg", name, name)


def _strength(row: ComparisonRow) -> float:
    return max(abs(row.left.mean), abs(row.right.mean))


def plot_comparison(record: ComparisonRecord, model: str, path: Path) -> None:
    """Draw the components that mediate most in either trace; the file's ending says the format.

    Bars of the second trace are hatched: the two are told apart without colour.
    """
    rows = sorted(record.rows, key=lambda row: (-_strength(row), row.component))[:_BARS]
    figure, (axis,) = subplots((4.6, 1.5 + 0.32 * len(rows)))
    for side, offset, color, hatch in (("left", -0.2, _LEFT, ""), ("right", 0.2, _RIGHT, "////")):
        numbers = [getattr(row, side) for row in rows]
        means = [100 * number.mean for number in numbers]
        errors = [
            [100 * max(0.0, number.mean - number.low) for number in numbers],
            [100 * max(0.0, number.high - number.mean) for number in numbers],
        ]
        axis.barh(
            [i + offset for i in range(len(rows))],
            means,
            0.38,
            xerr=errors,
            label=getattr(record, side),
            facecolor=color if not hatch else "white",
            edgecolor=color,
            hatch=hatch,
            error_kw={"elinewidth": 0.8, "capsize": 1.5},
        )
    axis.set_yticks(range(len(rows)), [row.component for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.axvline(0, color="black", linewidth=0.8)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_xlabel("share of the total effect that the component mediates, %", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    correlation = two_decimals(record.rank_correlation)
    shown = f"{len(rows)} of {len(record.rows)} components"
    figure.suptitle(
        f"{record.left} and {record.right}, {model}\n{shown}; rank correlation {correlation}",
        fontsize=9,
    )
    save(figure, path)
