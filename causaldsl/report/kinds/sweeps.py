"""Sweeps: the cells with the largest effect, all of them further down, and a heatmap or curves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from math import prod

from rich.table import Table

from causaldsl.check.checked import Output
from causaldsl.report.curves import plot_curves
from causaldsl.report.heatmaps import plot_sweep
from causaldsl.report.html.markup import Content, Html, join, section, tag
from causaldsl.report.html.tables import arms_table, measured_on, metric_name
from causaldsl.report.kinds.base import Draw, Kind, Picture, kind
from causaldsl.report.numbers import with_interval
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import Number, PlotRecord, Results, SweepRecord
from causaldsl.vocabulary.metrics import headline

_ROWS, _ROWS_BESIDE = 12, 8


@kind
class Sweeps(Kind):
    fields = ("sweeps",)
    page_place = 41

    def panel(self, view: View, name: str) -> Html | None:
        if name not in view.results.sweeps:
            return None
        arms = view.results.measures[name]
        main, best = _best(arms, _ROWS_BESIDE)
        what = join(
            measured_on(name, arms),
            f": the {len(best)} of {len(arms) - 1} cells whose ",
            metric_name(main),
            " is furthest from 0",
        )
        shown = {cell: arms[cell] for cell in ["clean", *best]}
        axes, names = _cells(view.results.sweeps[name])
        more = tag("p", tag("a", "all cells", href=f"#all-{name}"), class_="more")
        return join(arms_table(shown, what, names, axes), more)

    def section(self, view: View) -> Html | None:
        """Every cell of every sweep, folded away."""
        parts = []
        for name, sweep in view.results.sweeps.items():
            arms = view.results.measures[name]
            axes, names = _cells(sweep)
            summary = tag("summary", tag("code", name), f": {len(arms) - 1} cells")
            cells = arms_table(arms, measured_on(name, arms), names, axes)
            parts.append(tag("details", summary, cells, id=f"all-{name}"))
        return section("sweeps", "Sweeps in full", parts) if parts else None

    def asked(self, view: View, output: Output) -> Picture | None:
        if output.kind != "plot" or output.target not in view.results.sweeps:
            return None
        plot = view.results.plots[output.stem]
        along = bool(plot.by) or plot.relative is not None
        return Picture.asked(output, _drawing(view.results, plot, along))

    def unasked(self, view: View) -> Iterator[Picture]:
        """A curve over numbers, else a heatmap."""
        for name, sweep in view.results.sweeps.items():
            if prod(map(len, sweep.axes.values())) > 1:
                plot = PlotRecord(target=name)
                drawing = _drawing(view.results, plot, _along_numbers(sweep))
                yield Picture.for_page(name, drawing)


def sweep_table(results: Results, name: str) -> Table:
    """The cells with the largest effect; all of them are in results.json and in the plot."""
    arms = results.measures[name]
    metrics = list(arms["clean"])
    main, best = _best(arms, _ROWS)
    table = titled(
        f"{name} (n = {arms['clean'][main].n}): the {len(best)} of {len(arms) - 1} cells with the "
        f"largest |{main}|",
        [", ".join(results.sweeps[name].axes)],
        metrics,
    )
    for cell in ["clean", *best]:
        numbers = [with_interval(arms[cell][metric]) for metric in metrics]
        table.add_row(cell.replace("[", " ").strip(" ]"), *numbers)
    return table


def _best(arms: dict[str, dict[str, Number]], count: int) -> tuple[str, list[str]]:
    """The headline metric, and the cells in which it is furthest from 0."""
    main = headline(arms["clean"])
    cells = [cell for cell in arms if cell != "clean"]
    return main, sorted(cells, key=lambda cell: -abs(arms[cell][main].mean))[:count]


def _cells(sweep: SweepRecord) -> tuple[str, dict[str, Content]]:
    """What the cells are counted by, and each cell as its arm and its place there.

    A token index has its tokens beside it.
    """
    names: dict[str, Content] = {"clean": tag("code", "clean")}
    shown = [sweep.shown.get(axis, labels) for axis, labels in sweep.axes.items()]
    for at, places in zip(product(*sweep.axes.values()), product(*shown), strict=True):
        for arm in sweep.arms:
            parts = [arm, *places] if arm else places
            names[f"{arm}[{'.'.join(at)}]"] = tag("code", " · ".join(parts))
    return " · ".join(sweep.axes), names


def _drawing(results: Results, plot: PlotRecord, along: bool) -> Draw:
    """Curves along a variable, or a heatmap."""
    if along:
        return partial(plot_curves, results, plot)
    return partial(plot_sweep, results, plot.target)


def _along_numbers(sweep: SweepRecord) -> bool:
    """Whether it has one axis, of whole numbers such as layers; heads and tokens have no line."""
    (axis, labels), *others = sweep.axes.items()
    return not others and axis not in sweep.shown and all(label.isdigit() for label in labels)
