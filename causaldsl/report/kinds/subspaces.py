"""Subspaces that the program names: their size, and the training and effect of learned ones."""

from __future__ import annotations

from rich.console import Console

from causaldsl.report.html.code import coloured
from causaldsl.report.html.figures import estimate, loss_curve
from causaldsl.report.html.markup import Content, Html, join, section, tag
from causaldsl.report.html.tables import metric_name, table
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.numbers import places_of, plain, with_interval
from causaldsl.report.terminal import show, titled
from causaldsl.report.view import View
from causaldsl.results.records import Results, SubspaceRecord


@kind
class Subspaces(Kind[SubspaceRecord]):
    fields = ("subspaces",)
    terminal_place = 70
    page_place = 65

    def terminal(self, results: Results, out: Console) -> None:
        """Learned subspaces with their effect in training and held out."""
        learned = {name: s for name, s in results.subspaces.items() if s.effects}
        if not learned:
            return
        metrics = _metrics(*learned.values())
        title = "Learned subspaces: effect in training and held out"
        columns = [*metrics, "loss, first to last epoch"]
        table = titled(title, ["subspace", "pairs"], columns)
        for name, subspace in learned.items():
            for part, numbers in (subspace.effects or {}).items():
                losses = subspace.losses or []
                curve = f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses else ""
                first = part == "train"
                measured = [with_interval(numbers[m]) if m in numbers else "" for m in metrics]
                table.add_row(name if first else "", part, *measured, curve if first else "")
        show(out, table)

    def panel(self, view: View, name: str, record: SubspaceRecord) -> Html:
        """The size, and for a learned subspace its training and its effect."""
        size = "1 dimension" if record.rank == 1 else f"{record.rank} dimensions"
        length = "" if abs(record.norm - 1) < 1e-3 else f", length {plain(record.norm, 2)}"
        words = tag("p", tag("code", name), f": {size} of {record.width}{length}", class_="small")
        if not record.effects:
            return words
        curve = tag("p", loss_curve(record.losses, name)) if record.losses else None
        return join(words, curve, _effects(name, record))

    def section(self, view: View) -> Html | None:
        rows: list[list[Content]] = [
            [tag("code", name), _made(view, name, s.made), str(s.rank), str(s.width), plain(s.norm)]
            for name, s in view.results.subspaces.items()
        ]
        if not rows:
            return None
        columns = ["name", "how it was made", "dimensions", "of", "length"]
        what = "Directions and subspaces that the program names"
        return section("subspaces", "Subspaces", table(columns, rows, what))

    def metrics(self, results: Results) -> set[str]:
        return set(_metrics(*results.subspaces.values()))


def _metrics(*subspaces: SubspaceRecord) -> list[str]:
    """The metrics that their effects are measured in."""
    parts = [numbers for s in subspaces for numbers in (s.effects or {}).values()]
    return list(dict.fromkeys(metric for numbers in parts for metric in numbers))


def _effects(name: str, record: SubspaceRecord) -> Html:
    """Effect on the pairs that it was trained on, and on held-out ones."""
    parts = record.effects or {}
    metrics = _metrics(record)
    places = {m: places_of([numbers[m] for numbers in parts.values()]) for m in metrics}
    titles = {"train": "in training", "test": "held out"}
    rows: list[list[Content]] = [
        [
            join(titles.get(part, part), f", n = {numbers[metrics[0]].n}"),
            *(estimate(numbers[m], places[m]) for m in metrics),
        ]
        for part, numbers in parts.items()
    ]
    columns = ["patched along it", *(metric_name(m) for m in metrics)]
    return table(columns, rows, join("Effect of ", tag("b", name)), class_="numbers")


def _made(view: View, name: str, label: str) -> Html:
    """The definition as the program has it; for a learned subspace also all its options."""
    applied = view.program.named[name]
    options = tag("div", label, class_="options") if applied.word.learned else None
    return join(tag("code", coloured(" ".join(applied.span.text.split()))), options)
