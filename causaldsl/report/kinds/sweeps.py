"""Sweeps: the cells that change most, all of them further down, and a heatmap or curves."""

from __future__ import annotations

from functools import partial
from itertools import product
from math import prod

from rich.table import Table

from causaldsl.check.checked import Output
from causaldsl.report.curves import plot_curves
from causaldsl.report.heatmaps import plot_sweep
from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import Arms, arms_table, measured_on, metric_name
from causaldsl.report.kinds.base import Draw, Kind, kind
from causaldsl.report.numbers import furthest, measured
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import PlotRecord, Results, SweepRecord
from causaldsl.vocabulary.metrics import headline

_ROWS, _ROWS_BESIDE = 12, 8


@kind
class Sweeps(Kind[SweepRecord]):
    fields = ("sweeps",)
    title = "Sweeps in full"
    page_place = 41

    def panel(self, view: View, name: str, record: SweepRecord) -> Html:
        arms = view.results.measures[name]
        main, best = _best(arms, _ROWS_BESIDE)
        what = join(
            measured_on(name, arms),
            f": the {len(best)} of {len(arms) - 1} cells whose ",
            metric_name(main),
            " is furthest from the clean run's",
            _differing(record, main),
        )
        shown = {cell: arms[cell] for cell in ["clean", *best]}
        axes, names = _cells(record, main)
        more = tag("p", tag("a", "all cells", href=f"#all-{name}"), class_="more")
        return join(arms_table(shown, what, names, axes, marked=record.differs), more)

    def article(self, view: View, name: str, record: SweepRecord) -> Html:
        """Every cell, folded away."""
        arms = view.results.measures[name]
        axes, names = _cells(record, headline(arms["clean"]))
        summary = tag("summary", tag("code", name), f": {len(arms) - 1} cells")
        said = measured_on(name, arms)
        cells = arms_table(arms, said, names, axes, marked=record.differs)
        return tag("details", summary, cells, id=f"all-{name}")

    def draw(self, view: View, name: str, record: SweepRecord, asked: Output | None) -> Draw | None:
        """Curves by a variable or relative to a number, else a heatmap; unasked, what fits."""
        if asked is None:
            plot, along = PlotRecord(target=name), _along_numbers(record)
            if prod(map(len, record.axes.values())) == 1:
                return None
        elif asked.kind == "plot":
            plot = view.results.plots[asked.stem]
            along = bool(plot.by or plot.lines) or plot.relative is not None
        else:
            return None
        if along:
            return partial(plot_curves, view.results, plot)
        return partial(plot_sweep, view.results, name)


def sweep_table(results: Results, name: str) -> Table:
    """The cells that change most; all of them are in results.json and in the plot."""
    arms = results.measures[name]
    metrics = list(arms["clean"])
    main, best = _best(arms, _ROWS)
    record = results.sweeps[name]
    said = "all cells"
    if len(best) < len(arms) - 1:
        said = f"the {len(best)} of {len(arms) - 1} cells whose {main} changes most"
    said += _differing(record, main)
    marked = record.differs.get(main, ())
    rows = (
        [
            _said(cell) + (" *" if cell in marked else ""),
            *(measured(arms[cell][m], m, cell in record.differs.get(m, ())) for m in metrics),
        ]
        for cell in ["clean", *best]
    )
    over = ", ".join(record.axes)
    return titled(f"{name} (n = {arms['clean'][main].n}): {said}", [over], metrics, rows)


def _said(cell: str) -> str:
    """A cell as its arm and its place, `circuit 3`; of a place the brackets are its own."""
    arm, _, place = cell.partition("[")
    return f"{arm} {place.removesuffix(']')}".strip()


def _best(arms: Arms, count: int) -> tuple[str, list[str]]:
    """The headline metric, and the cells in which it is furthest from the clean run's, in order."""
    main = headline(arms["clean"])
    chosen = set(furthest(arms, main)[:count])
    return main, [cell for cell in arms if cell in chosen]


def _differing(record: SweepRecord, metric: str) -> str:
    """How many cells differ from the clean run when all of them are looked at."""
    if metric not in record.differs:
        return ""
    return f"; * {len(record.differs[metric])} differ from clean, by intervals for all at once"


def _cells(sweep: SweepRecord, metric: str) -> tuple[str, dict[str, Content]]:
    """What the cells are counted by, and each cell as its arm and its place there, with a star
    where it differs from the clean run by this metric, as is counted in the caption.

    A token index has its tokens beside it.
    """
    names: dict[str, Content] = {"clean": tag("code", "clean")}
    shown = [sweep.shown.get(axis, labels) for axis, labels in sweep.axes.items()]
    for at, places in zip(product(*sweep.axes.values()), product(*shown), strict=True):
        for arm in sweep.arms:
            parts, cell = [arm, *places] if arm else places, f"{arm}[{'.'.join(at)}]"
            star = " *" if cell in sweep.differs.get(metric, ()) else None
            names[cell] = join(tag("code", " · ".join(parts)), star)
    return " · ".join(sweep.axes), names


def _along_numbers(sweep: SweepRecord) -> bool:
    """Whether it has one axis, of whole numbers such as layers; heads and tokens have no line."""
    (axis, labels), *others = sweep.axes.items()
    return not others and axis not in sweep.shown and all(label.isdigit() for label in labels)
