"""Pictures of traces and comparisons in a run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.check.checked import Output
from causaldsl.check.program import check_file
from causaldsl.cli import main
from causaldsl.graph.compiler import compile_program
from causaldsl.plan.settings import Settings
from causaldsl.report.write import draw_run, write_numbers
from causaldsl.results.records import Results
from tests.report.synthetic import comparison, trace

TOY = Path(__file__).parents[2] / "programs" / "toy_illusion.cpatch"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a rendered trace, another trace, and a comparison."""
    root = tmp_path_factory.mktemp("runs")
    assert main(["run", str(TOY), "--out", str(root / "plain")]) == 0
    plain = Results.model_validate_json((root / "plain" / "results.json").read_text("utf-8"))
    found = {"traces": {"asked": trace(12), "unasked": trace(12, ("S2", "END"))}}
    found["comparisons"] = {"rank_correlation(asked, unasked)": comparison(5)}
    program = check_file(TOY)
    program.outputs.append(Output("render", "asked", "drawn", ".pdf", program.outputs[0].span))
    folder = root / "traced"
    folder.mkdir()
    made = program, compile_program(program), plain.model_copy(update=found)
    write_numbers(folder, *made, {}, (), Settings())
    draw_run(folder, *made)
    return folder


def test_a_rendered_trace_is_drawn_where_the_program_says(written: Path) -> None:
    assert (written / "drawn.pdf").read_bytes().startswith(b"%PDF")
    dot = (written / "drawn.dot").read_text("utf-8")
    assert "Trace asked of toy_illusion.cpatch" in dot
    assert not (written / "asked.svg").exists()


def test_a_trace_that_nobody_renders_is_drawn_under_its_name(written: Path) -> None:
    assert "Trace unasked of toy_illusion.cpatch" in (written / "unasked.dot").read_text("utf-8")
    assert (written / "unasked.svg").read_text("utf-8").count('class="edge"') > 10


def test_a_comparison_is_drawn(written: Path) -> None:
    picture = (written / "rank_correlation_asked_unasked.svg").read_text("utf-8")
    assert "rank correlation 0.71" in picture
