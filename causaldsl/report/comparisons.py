"""Two traces beside each other: the share that each component mediates in the one and the other."""

from __future__ import annotations

from pathlib import Path

from causaldsl.report.plots import save, subplots
from causaldsl.results.records import ComparisonRecord, two_decimals

_ROWS = 16
_LEFT, _RIGHT = "#c44e00", "#0062a3"


def plot_comparison(record: ComparisonRecord, model: str, path: Path) -> None:
    """Draw the components that mediate most in either trace; the file's ending says the format.

    Bars of the second trace are hatched: the two are told apart without colour.
    """
    rows = sorted(
        record.rows, key=lambda r: (-max(abs(r.left.mean), abs(r.right.mean)), r.component)
    )[:_ROWS]  # fmt: skip
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
