"""The library's programs are short, in the house style, right, and on their page."""

import sys
from pathlib import Path

import pytest

from causaldsl.check.program import check_file
from causaldsl.diagnostics import Source
from causaldsl.syntax.format import format_program
from causaldsl.syntax.parse import parse

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted((ROOT / "programs" / "library").glob("*.cpatch"))
OWN = [ROOT / f"programs/library/{name}.cpatch" for name in ("agreement", "capitals", "pronouns")]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_it_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 25


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.stem)
def test_it_is_right_and_claims(path: Path) -> None:
    assert format_program(parse(Source(path.name, path.read_text()))) == path.read_text()
    program = check_file(path)
    assert program.claims
    assert {warning.code for warning in program.warnings} <= {"dropped-words"}


def test_the_page_is_made_from_the_programs() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    from make_library import library

    assert (ROOT / "docs" / "library.md").read_text() == library()
