"""Each kind of dormant edge is called what it is: on the terminal, on the page, in the picture."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from causaldsl.engine.bootstrap import Estimate
from causaldsl.engine.tracing.trace import _asleep
from causaldsl.report.dormant import HEADINGS, MEANINGS, WHERE
from causaldsl.report.kinds.traces import Traces
from causaldsl.report.pathways.legend import legend
from causaldsl.report.tables import print_results
from causaldsl.results.records import Results
from causaldsl.results.routes import TraceEdge, TraceRecord
from tests.report.pages import Page
from tests.report.synthetic import TOTAL, made_of, number

SHARES = {"data": (0.4, 0.01), "intervention": (0.01, 0.4), "opposite": (0.4, -0.3)}


def edge(asleep: str, at: str) -> TraceEdge:
    share, natural = SHARES[asleep]
    about = {"sender": "patch", "receiver": at, "share": share, "natural_share": natural}
    numbers = {"effect": number(share * TOTAL), "natural": number(natural * TOTAL)}
    said = {"dormant": True, "asleep": asleep, "shown": True}
    return TraceEdge.model_validate(about | numbers | said)


def with_edges(*edges: TraceEdge) -> TraceRecord:
    paths = [("patch", "22.1", 0.4), ("patch", "23.1", 0.4), ("patch", "24.1", 0.4)]
    return made_of(paths).model_copy(update={"edges": list(edges)})


def panel(record: TraceRecord) -> Page:
    made = Traces().panel(None, "t", record)  # type: ignore[arg-type]
    return Page(f"<!DOCTYPE html>\n<html><body>{made}</body></html>")


def terminal(record: TraceRecord) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_results(Results(program="p", measures={}, traces={"t": record}), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def estimate(mean: float, width: float = 0.02) -> Estimate:
    return Estimate(mean, 100, mean - width, mean + width)


@pytest.mark.parametrize(
    ("effect", "natural", "asleep"),
    [
        (estimate(0.4), estimate(0.01), "data"),
        (estimate(0.4), estimate(-0.01), "data"),
        (estimate(0.4), estimate(-0.3, 0.5), "data"),
        (estimate(0.01), estimate(0.4), "intervention"),
        (estimate(-0.3, 0.5), estimate(0.4), "intervention"),
        (estimate(0.4), estimate(-0.3), "opposite"),
        (estimate(0.3), estimate(-0.4), "opposite"),
        (estimate(0.4), estimate(0.3), ""),
        (estimate(0.02, 0.01), estimate(0.0), ""),
        (estimate(0.4, 0.5), estimate(0.0), ""),
    ],
)
def test_where_an_edge_is_dormant(effect: Estimate, natural: Estimate, asleep: str) -> None:
    assert _asleep(effect, natural, 1.0) == asleep
    assert _asleep(estimate(-effect.mean, effect.mean - effect.low), Estimate(
        -natural.mean, 100, -natural.high, -natural.low
    ), -1.0) == asleep  # fmt: skip


@pytest.mark.parametrize("asleep", SHARES)
def test_each_kind_by_its_name(asleep: str) -> None:
    record = with_edges(edge(asleep, "22.1@END"))
    page = panel(record)
    assert f"Dormant edges: {HEADINGS[asleep]}" in [e.words for e in page.all("caption")]
    assert [e.words for e in page.all("span", "badge")] == [f"dormant {WHERE[asleep]}"]
    assert any(f"1 of them is dormant: 1 {WHERE[asleep]}." in e.words for e in page.all("p"))
    assert f"DORMANT {WHERE[asleep]}" in terminal(record)
    texts = [entry.text for entry in legend(record, 0, 1000)[0] if entry.mark == "dormant"]
    assert texts == [f"dormant: {MEANINGS[asleep]} (natural share)"]
    (said,) = [w.text for key, w in Traces().words(record).items() if key.startswith("patch->")]
    assert said.startswith(f"dormant {WHERE[asleep]}: patch")


def test_kinds_beside_one_another() -> None:
    """Every heading stands over its own edges alone."""
    at = {"data": "22.1@END", "intervention": "23.1@END", "opposite": "24.1@END"}
    record = with_edges(*(edge(asleep, where) for asleep, where in at.items()))
    tables = [e.words for e in panel(record).all("table") if "Dormant edges" in e.words]
    for asleep, where in at.items():
        (own,) = [words for words in tables if HEADINGS[asleep] in words]
        assert [one for one in at.values() if one in own] == [where]
    (text,) = [entry.text for entry in legend(record, 0, 1000)[0] if entry.mark == "dormant"]
    assert all(MEANINGS[asleep] in text for asleep in at)


def test_a_record_that_does_not_say_where() -> None:
    """One of a version before: nothing is claimed of it."""
    before = edge("data", "22.1@END").model_copy(update={"asleep": ""})
    record = with_edges(before)
    page = panel(record)
    assert any("1 of them is dormant." in e.words for e in page.all("p"))
    assert f"Dormant edges: {HEADINGS['']}" in [e.words for e in page.all("caption")]
