"""Dictionaries of features, beside their statements and on the terminal."""

from __future__ import annotations

from rich.console import Console

from causaldsl.report.html.markup import Content, Html, section, tag
from causaldsl.report.html.tables import table
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.terminal import show, titled
from causaldsl.report.view import View
from causaldsl.results.records import DictionaryRecord, Results

_COLUMNS = ["features", "at", "active", "files"]


@kind
class Dictionaries(Kind[DictionaryRecord]):
    fields = ("dictionaries",)
    terminal_place = 5
    page_place = 64

    def terminal(self, results: Results, out: Console) -> None:
        """One table of all of them."""
        if not results.dictionaries:
            return
        out_table = titled("Dictionaries", ["dictionary", "at", "active", "files"], ["features"])
        for name, record in results.dictionaries.items():
            features, *rest = _row(record)
            out_table.add_row(name, *rest, features)
        show(out, out_table)

    def panel(self, view: View, name: str, record: DictionaryRecord) -> Html:
        features, at, active, files = _row(record)
        words = f": {features} features at {at}, {active}; {files}"
        return tag("p", tag("code", name), words, class_="small")

    def section(self, view: View) -> Html | None:
        rows: list[list[Content]] = [
            [tag("code", name), *_row(record), tag("code", record.digest)]
            for name, record in view.results.dictionaries.items()
        ]
        if not rows:
            return None
        what = "Dictionaries of features, as their files describe them"
        columns = ["name", *_COLUMNS, "digest"]
        return section("dictionaries", "Dictionaries", table(columns, rows, what))


def _row(record: DictionaryRecord) -> list[str]:
    same = record.reads == record.writes
    at = record.reads if same else f"{record.reads} -> {record.writes}"
    active = f"{record.kind} {record.k}" if record.k else record.kind
    trained = f", of {record.trained_on}" if record.trained_on else ""
    return [str(record.features), at, active, f"{record.files} ({record.layout}{trained})"]
