"""Attributions in the page, on the terminal and as a picture: estimates are called that."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.cli import main
from causaldsl.results.records import Results
from tests.frontend.world import make_world
from tests.report.pages import Page

PROGRAM = """import "prompts.cpatch"
attribution found to logit_diff on flip.test { over heads, mlps  steps 2  check 5 }
attribution ways to logit_diff on flip.test { edges }
plot found as "found.svg"
expect found.rank_correlation < 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = make_world(tmp_path_factory.mktemp("attributions"))
    (world / "a.cpatch").write_text(PROGRAM)
    assert main(["run", str(world / "a.cpatch"), "--out", str(world / "run")]) == 0
    return world / "run"


def test_the_page_says_what_is_an_estimate(folder: Path) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    text = " ".join("".join(page.all("body")[0].text).split())
    assert text.count("Estimates, no measurements") == 4  # beside the statements, and in full
    assert "estimates by gradients, not measured; the 12 largest of 20" in text
    assert "Of 5 drawn from all, the effect was measured as well" in text
    assert "in which the token embeddings go from those of the base" in text
    results = Results.model_validate_json((folder / "results.json").read_text())
    record = results.attributions["ways"]
    assert (record.of, record.count, record.drawn) == ("edges", 343, [])
    assert (
        record.largest[0].name == f"edge({record.largest[0].sender}, {record.largest[0].receiver})"
    )
    assert record.largest[0].name in text


def test_the_picture_shows_both_numbers_of_the_sample(folder: Path) -> None:
    picture = (folder / "found.svg").read_text(encoding="utf-8")
    for said in ("16 largest of 20 estimates, not measured", "measured change", "5 drawn from all"):
        assert said in picture


def test_where_all_are_measured_they_are_shown_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = PROGRAM.replace("check 5", "check 20")
    (folder.parent / "all.cpatch").write_text(program)
    out = folder.parent / "all"
    assert main(["run", str(folder.parent / "all.cpatch"), "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "found: estimates by gradients, beside the measured effects" in printed
    assert "rank correlation of estimate and measured effect" in printed
    results = Results.model_validate_json((out / "results.json").read_text())
    record = results.attributions["found"]
    assert len(record.drawn) == record.count == 20
    assert printed.count(f" {record.largest[0].name} ") == 1
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    text = " ".join("".join(page.all("body")[0].text).split())
    assert "Of all 20, the effect was measured as well" in text
    article = text.split("Of all 20")[-1]
    assert "not measured" not in article.split("ways")[0]
    assert "not measured" not in (out / "found.svg").read_text(encoding="utf-8")


def test_the_terminal_says_it_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = folder.parent / "again"
    assert main(["run", str(folder.parent / "a.cpatch"), "--out", str(again)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "found: estimates by gradients, not measured" in printed
    assert "rank correlation of estimate and measured effect" in printed
    assert "not measured" in printed
