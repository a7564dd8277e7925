"""Tables of numbers over loop variables: means and ranges along the first variable, as curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product

from rich.table import Table

from causaldsl.check.checked import Output
from causaldsl.report.curves import plot_curves
from causaldsl.report.heatmaps import is_grid, plot_grid
from causaldsl.report.html.markup import Content, Html, breakable, join, tag
from causaldsl.report.html.tables import folded, table
from causaldsl.report.kinds.base import Draw, Kind, kind
from causaldsl.report.kinds.numbers import probed
from causaldsl.report.numbers import decimals, plain
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import PlotRecord, Results, TableRecord


@kind
class Tables(Kind[TableRecord]):
    fields = ("tables",)
    title = "Tables in full"
    terminal_place = 20
    page_place = 50

    def tables(self, results: Results, name: str, record: TableRecord) -> Iterator[Table]:
        (first, labels), *others = record.axes.items()
        over = f": mean (range) over {', '.join(axis for axis, _ in others)}" if others else ""
        out = titled(f"{name}{over}", [], [first, *record.cells])
        for label in labels:
            row = [label]
            for _, values in _along(record, label):
                mean = f"{sum(values) / len(values):.3g}"
                row.append(f"{mean} ({min(values):.3g}..{max(values):.3g})" if others else mean)
            out.add_row(*row)
        yield out

    def panel(self, view: View, name: str, record: TableRecord) -> Html:
        """A number for each label of the first variable, or mean and range over the others."""
        (first, labels), *others = record.axes.items()
        places = {arm: decimals(cells.values()) for arm, cells in record.cells.items()}
        rows: list[list[Content]] = [
            [
                tag("code", label),
                *(_summary(values, places[arm]) for arm, values in _along(record, label)),
            ]
            for label in labels
        ]
        over = ", ".join(axis for axis, _ in others)
        said = f": mean, and lowest to highest over {over}" if others else ""
        caption = join(tag("b", name), said)
        made = table([first, *_arms(record)], rows, caption, class_="numbers few")
        mine = [probe for key, probe in view.results.probes.items() if key.startswith(f"{name}.")]
        more = tag("a", "all cells", href=f"#all-{name}") if others else None
        return join(
            folded("rows", len(rows), made),
            tag("p", probed(mine), class_="small") if mine else None,
            tag("p", more, class_="more") if more else None,
        )

    def article(self, view: View, name: str, record: TableRecord) -> Html | None:
        """Every cell of a table that has more than one variable, folded away."""
        if len(record.axes) == 1:
            return None
        summary = tag("summary", tag("code", name), f": {len(list(_places(record)))} cells")
        return tag("details", summary, _cells(name, record), id=f"all-{name}")

    def draw(self, view: View, name: str, record: TableRecord, asked: Output | None) -> Draw | None:
        if asked is None and len(next(iter(record.axes.values()))) == 1:
            return None
        plot = view.results.plots[asked.stem] if asked else PlotRecord(target=name)
        if plot.by is plot.lines is None and plot.relative is None and is_grid(record):
            return partial(plot_grid, view.results, name)
        return partial(plot_curves, view.results, plot)


def _along(record: TableRecord, label: str) -> Iterator[tuple[str, list[float]]]:
    """Each arm with its numbers at one label of the first variable."""
    for arm, cells in record.cells.items():
        yield arm, [cells[".".join(at)] for at in _places(record) if at[0] == label]


def _cells(name: str, record: TableRecord) -> Html:
    places = {arm: decimals(cells.values()) for arm, cells in record.cells.items()}
    rows: list[list[Content]] = [
        [
            tag("code", " · ".join(at)),
            *(plain(cells[".".join(at)], places[arm]) for arm, cells in record.cells.items()),
        ]
        for at in _places(record)
    ]
    return table([" · ".join(record.axes), *_arms(record)], rows, tag("b", name), class_="numbers")


def _places(record: TableRecord) -> Iterable[tuple[str, ...]]:
    return product(*record.axes.values())


def _arms(record: TableRecord) -> list[Content]:
    return [tag("code", breakable(arm)) for arm in record.cells]


def _summary(values: list[float], places: int) -> Html:
    mean = tag("span", plain(sum(values) / len(values), places), class_="mean")
    if len(values) == 1:
        return mean
    low, high = plain(min(values), places), plain(max(values), places)
    return join(mean, " ", tag("span", f"{low} to {high}", class_="interval"))
