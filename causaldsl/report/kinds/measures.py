"""Measures: the arms of each by its metrics. The numbers of a sweep stand among them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from causaldsl.report.html.markup import Content, Html, join, tag
from causaldsl.report.html.tables import arms_table, measured_on
from causaldsl.report.kinds.base import Kind, Named, Options, kind
from causaldsl.report.kinds.sweeps import sweep_table
from causaldsl.report.numbers import with_interval
from causaldsl.report.terminal import show, titled
from causaldsl.report.view import View
from causaldsl.results.records import Number, Results


@kind
class Measures(Kind):
    fields = ("measures", "arms")
    terminal_place = 10
    page_place = 40
    operand = "measure"

    def terminal(self, results: Results, out: Console) -> None:
        for name, arms in results.measures.items():
            swept = name in results.sweeps
            show(out, sweep_table(results, name) if swept else _table(name, arms))

    def panel(self, view: View, name: str) -> Html | None:
        arms = view.results.measures.get(name)
        if arms is None or name in view.results.sweeps:
            return None
        return arms_table(arms, measured_on(name, arms), _arm_names(view, name), "arm")

    def metrics(self, results: Results) -> set[str]:
        return {m for arms in results.measures.values() for row in arms.values() for m in row}

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        arm, metric = options.get("arm", ""), options.get("metric", "")
        number = results.measures.get(name, {}).get(arm, {}).get(metric)
        dot = "" if arm.startswith("[") else "."
        return None if number is None else (f"{name}{dot}{arm}.{metric}", number)


def _table(name: str, arms: dict[str, dict[str, Number]]) -> Table:
    metrics = list(next(iter(arms.values())))
    n = next(iter(arms.values()))[metrics[0]].n
    intervals = ", 95% bootstrap intervals" if n > 1 else ""
    table = titled(f"{name} (n = {n}{intervals})", ["arm"], metrics)
    for arm, numbers in arms.items():
        table.add_row(arm, *(with_interval(numbers[metric]) for metric in metrics))
    return table


def _arm_names(view: View, name: str) -> dict[str, Content]:
    """Arms by name; one along a path with its policy, which may be written elsewhere."""
    does = view.results.arms.get(name, {})
    return {
        arm: join(tag("code", arm), tag("div", text, class_="options"))
        for arm, text in does.items()
        if "freeze" in text
    }
