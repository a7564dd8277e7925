"""Measures: the arms of each by its metrics. The numbers of a sweep stand among them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rich.table import Table

from causaldsl.check.checked import Output
from causaldsl.report.bars import plot_bars
from causaldsl.report.html.markup import Content, Html, breakable, join, tag
from causaldsl.report.html.tables import Arms, arms_table, measured_on, table
from causaldsl.report.kinds.base import Draw, Kind, Named, Options, kind
from causaldsl.report.kinds.sweeps import sweep_table
from causaldsl.report.numbers import decimals, measured, plain
from causaldsl.report.terminal import titled
from causaldsl.report.view import View
from causaldsl.results.records import Results, TemplatesRecord
from causaldsl.vocabulary.metrics import headline


@kind
class Measures(Kind[Arms]):
    fields = ("measures", "arms", "templates")
    terminal_place = 10
    page_place = 40
    operand = "measure"

    def tables(self, results: Results, name: str, record: Arms) -> Iterator[Table]:
        yield sweep_table(results, name) if name in results.sweeps else _table(name, record)

    def panel(self, view: View, name: str, record: Arms) -> Html | None:
        if name in view.results.sweeps:
            return None
        found = view.results.templates.get(name)
        caption, parts = measured_on(name, record), dict[str, list[float]]()
        if found is not None and found.metric == headline(next(iter(record.values()))):
            caption = join(caption, "; small dots: templates")
            parts = {arm: [v for v in row if v is not None] for arm, row in found.arms.items()}
        made = arms_table(record, caption, _arm_names(view, name), "arm", parts)
        return made if found is None else join(made, _by_template(name, found))

    def draw(self, view: View, name: str, record: Arms, asked: Output | None) -> Draw | None:
        """Bars where the program plots them: by itself, a page has the table."""
        if name in view.results.sweeps or asked is None or asked.kind != "plot":
            return None
        return partial(plot_bars, view.results, name)

    def metrics(self, results: Results) -> set[str]:
        return {m for arms in results.measures.values() for row in arms.values() for m in row}

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        arm, metric = options.get("arm", ""), options.get("metric", "")
        number = results.measures.get(name, {}).get(arm, {}).get(metric)
        dot = "" if arm.startswith("[") else "."
        return None if number is None else (f"{name}{dot}{arm}.{metric}", number)


def _by_template(name: str, record: TemplatesRecord) -> Html:
    """The headline metric in each template, folded away, and what varies between templates."""
    arms = record.arms
    every = [value for row in arms.values() for value in row if value is not None]
    places = decimals(every)
    rows: list[list[Content]] = [
        [
            tag("code", template),
            str(units),
            *("" if row[i] is None else plain(row[i] or 0.0, places) for row in arms.values()),
        ]
        for i, (template, units) in enumerate(zip(record.templates, record.units, strict=True))
    ]
    spread = (plain(record.between[arm], places) for arm in arms)
    rows.append(["between templates, beyond sampling (sd)", "", *spread])
    head: list[Content] = ["template", "n", *(tag("code", breakable(arm)) for arm in arms)]
    caption = join(tag("b", name), f": {record.metric} in each template")
    summary = tag("summary", f"{record.metric} in each of {len(record.templates)} templates")
    return tag("details", summary, table(head, rows, caption, class_="numbers"))


def _table(name: str, arms: Arms) -> Table:
    metrics = list(next(iter(arms.values())))
    n = next(iter(arms.values()))[metrics[0]].n
    intervals = ", 95% bootstrap intervals" if n > 1 else ""
    rows = ([arm, *(measured(row[m], m) for m in metrics)] for arm, row in arms.items())
    return titled(f"{name} (n = {n}{intervals})", ["arm"], metrics, rows)


def _arm_names(view: View, name: str) -> dict[str, Content]:
    """Arms by name; one along a path with its policy, which may be written elsewhere."""
    does = view.results.arms.get(name, {})
    return {
        arm: join(tag("code", arm), tag("div", text, class_="options"))
        for arm, text in does.items()
        if "freeze" in text
    }
