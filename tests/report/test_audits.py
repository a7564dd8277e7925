"""What stands beside an inconclusive verdict, on the page and on the terminal."""

from __future__ import annotations

from rich.console import Console

from causaldsl.report.kinds.audits import Audits
from causaldsl.results.records import AuditRecord, Evidence, Results
from tests.report.pages import Page
from tests.report.synthetic import number

AXIS = {"scale": (1 / 3, 2 / 3), "points_to": "faithful", "meaning": "A share."}
ROWS = [
    *(Evidence(name=name, value=number(0.95), **AXIS) for name in ("one", "two")),
    Evidence(name="whole", value=number(0.27), meaning="All of it.", points_to="neither"),
]


def audit(**change: object) -> AuditRecord:
    about = {
        "audited": "illusion(v, on: many)",
        "site": "mlp_hidden[0]",
        "pairs": "many",
        "n": 4,
        "n_pairs": 6,
    }
    said = {"verdict": "inconclusive", "rule": "Too much.", "decided_by": ["whole"], "caveat": "C"}
    return AuditRecord.model_validate(about | said | {"evidence": ROWS} | change)


def beside(record: AuditRecord) -> Page:
    """The panel: nothing of a view is needed for it."""
    panel = Audits().panel(None, "a", record)  # type: ignore[arg-type]
    return Page(f"<!DOCTYPE html>\n<html><body>{panel}</body></html>")


def terminal(record: AuditRecord) -> str:
    results = Results(program="p", measures={}, audits={"a": record})
    console = Console(width=120)
    with console.capture() as captured:
        for one in Audits().tables(results, "a", record):
            console.print(one)
    return captured.get()


def test_an_inconclusive_badge_over_dots_on_one_side_says_why() -> None:
    """What stands in the way has no dot here, so a reader sees two that both say "faithful"."""
    page = beside(audit())
    assert page.all("circle", "decided") == []
    words = " ".join(e.words for e in page.all("p", "small"))
    assert "a full one stands in the way of a verdict, and so does what has no dot: whole." in words
    (table,) = page.all("table")
    assert "What stands in the way of a verdict" in table.words
    assert "whole" in table.words
    assert "one" not in [row.words for row in page.all("td")]


def test_evidence_with_a_dot_is_the_full_one() -> None:
    page = beside(audit(decided_by=["one"]))
    assert len(page.all("circle", "decided")) == 1
    words = " ".join(e.words for e in page.all("p", "small"))
    assert "a full one stands in the way of a verdict." in words


def test_a_definite_verdict_was_decided() -> None:
    record = audit(verdict="faithful", decided_by=["one", "two"])
    page = beside(record)
    assert not any("in the way" in e.words for e in [*page.all("p"), *page.all("table")])
    assert "What decided" in page.all("table")[0].words
    assert "Evidence (* decided)" in terminal(record)


def test_the_terminal_marks_what_stands_in_the_way() -> None:
    said = terminal(audit())
    assert "Evidence (* stands in the way)" in said
    (marked,) = [line for line in said.splitlines() if "* " in line and "(*" not in line]
    assert "* whole" in marked
