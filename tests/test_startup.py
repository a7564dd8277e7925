"""Starting up: in a process of its own, nothing looks for garbage while what stays is made; after
it, all is as before. In another's process, that is not touched."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from causaldsl import api
from causaldsl.check import program
from causaldsl.cli import main
from causaldsl.process import owned

PROGRAM = Path(__file__).parents[1] / "programs/toy_illusion.cpatch"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether garbage was being collected when the program was checked."""
    found, plain = [], program.check_file

    def check_file(*given: Any) -> Any:
        found.append(gc.isenabled())
        return plain(*given)

    monkeypatch.setattr(program, "check_file", check_file)
    yield found
    gc.enable()


@pytest.mark.parametrize("before", [True, False])
def test_collection_pauses(seen: list[bool], before: bool) -> None:
    if not before:
        gc.disable()
    with owned():
        assert main(["check", str(PROGRAM)]) == 0
    assert seen == [False]
    assert gc.isenabled() == before


def test_also_when_the_program_is_wrong(seen: list[bool], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.cpatch"
    wrong.write_text("site s = nowhere\n")
    with owned():
        assert main(["check", str(wrong)]) == 2
    assert seen == [False]
    assert gc.isenabled()


@pytest.mark.parametrize("before", [True, False])
def test_a_library_s_user_decides_about_garbage(seen: list[bool], before: bool) -> None:
    if not before:
        gc.disable()
    api.check(PROGRAM)
    assert seen == [before]
    assert gc.isenabled() == before
