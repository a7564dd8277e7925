"""Notes: what the run has to say about itself, such as how precise its numbers are."""

from __future__ import annotations

from rich.console import Console

from causaldsl.report.html.markup import Html, prose, section, tag
from causaldsl.report.kinds.base import Kind, kind
from causaldsl.report.view import View
from causaldsl.results.records import Results


@kind
class Notes(Kind[None]):
    fields = ("notes", "precision")  # what is known of the precision is also said in a note
    terminal_place = 90
    page_place = 95

    def terminal(self, results: Results, out: Console) -> None:
        for note in results.notes:
            out.print(f"note: {note}", style="yellow")

    def section(self, view: View) -> Html | None:
        items = [tag("li", prose(note)) for note in view.results.notes]
        return section("notes", "Notes of the run", tag("ul", items)) if items else None
