"""The programs of the library are short, name their source, and say what differs."""

from pathlib import Path

import pytest

from causaldsl.check.program import check_file
from causaldsl.cli import main
from causaldsl.model.catalog import catalog

FOLDER = Path(__file__).parents[1] / "programs" / "library"
PROGRAMS = sorted(FOLDER.glob("*.cpatch"))
EXPERIMENTS = [path for path in PROGRAMS if "expect " in path.read_text()]
MOST = 25
"""Lines of a program."""

needs_model = pytest.mark.skipif(
    not next(entry.present for entry in catalog() if entry.name == "smollm2-135m"),
    reason="smollm2-135m is not on this machine: causaldsl models pull smollm2-135m",
)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_it_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_it_says_where_it_is_from_and_what_differs(path: Path) -> None:
    assert "What differs:" in path.read_text()


@needs_model
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_it_checks_without_a_warning(path: Path) -> None:
    assert check_file(path).warnings == []


@pytest.mark.soak
@needs_model
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_its_claims_hold(path: Path, tmp_path: Path) -> None:
    """What a model can't do is claimed too, so every claim holds."""
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
