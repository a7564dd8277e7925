"""What the terminal says of traces and comparisons, and the picture of a comparison."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from causaldsl.report.kinds.comparisons import plot_comparison
from causaldsl.report.tables import print_results
from causaldsl.results.records import Results
from tests.report.synthetic import comparison, trace


def printed(**found) -> str:
    console = Console(file=io.StringIO(), width=140)
    print_results(Results(program="p", measures={}, **found), console)
    return console.file.getvalue()


def test_a_trace_is_told_by_its_numbers():
    record = trace(12)
    text = printed(traces={"pathways": record})
    assert re.search(r"clean +│ +3\.21 \[3\.15, 3\.27\]", text)
    assert re.search(r"total effect +│ +-1\.70 \[-1\.76, -1\.64\]", text)
    assert re.search(r"edges carry +│ +83% \[77%, 89%\]", text)
    rows = [line for line in text.split("\n") if line.startswith("│")]
    assert sum("DORMANT" in row for row in rows) == 2
    for edge in record.edges:
        found = [row for row in rows if f" {edge.sender} " in row and f" {edge.receiver} " in row]
        assert len(found) == edge.shown
    assert "-0%" not in text


def test_components_come_strongest_first():
    text = printed(traces={"t": trace(25)})
    table = text.split("12 of 25 components")[1].split("└")[0]
    shares = [float(s) for s in re.findall(r"(-?\d+)% \[", table)]
    assert len(shares) == 12
    assert [abs(s) for s in shares] == sorted((abs(s) for s in shares), reverse=True)


def test_a_comparison_has_both_traces_side_by_side(tmp_path: Path):
    record = comparison(20)
    text = printed(comparisons={"both": record})
    assert "rank correlation 0.71 over 20 components" in " ".join(text.split())
    strongest = max(record.rows, key=lambda row: abs(row.right.mean))
    assert re.search(rf"│ {strongest.component} +│ .*│ .*{strongest.right.mean:.0%} \[", text)
    for name in ("one.svg", "two.svg"):
        plot_comparison(record, "smollm2-135m", tmp_path / name)
    picture = (tmp_path / "one.svg").read_text("utf-8")
    assert picture == (tmp_path / "two.svg").read_text("utf-8")
    for part in (strongest.component, "residual", "rank correlation 0.71", "smollm2-135m"):
        assert part in picture
