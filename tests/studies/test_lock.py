"""Locks: the same file for the same meaning, and what a run makes of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from causaldsl.cli import main
from tests.frontend.world import PRELUDE, make_world

PROGRAM = (
    PRELUDE
    + """param threshold = 0.5
site s = resid_post[0] @ S2
measure m on flip.test { a = patch s  report logit_diff }
expect m.a.logit_diff < m.clean.logit_diff + threshold
expect m.a.logit_diff > -9 at 0.99
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("locks"))


def locked(folder: Path, text: str) -> str:
    (folder / "p.cpatch").write_text(text)
    assert main(["lock", str(folder / "p.cpatch")]) == 0
    return (folder / "p.lock").read_text()


def test_elsewhere_it_is_the_same_file(world: Path, tmp_path: Path) -> None:
    there = tmp_path / "another machine"
    shutil.copytree(world, there)
    assert locked(world, PROGRAM) == locked(there, PROGRAM)
    assert str(world) not in locked(world, PROGRAM)


@pytest.mark.parametrize(
    "same",
    [
        PROGRAM.replace("expect m", "# why\n\n\nexpect   m"),
        PROGRAM.replace(
            "{ a = patch s  report logit_diff }", "{\n a = patch s # so\n report logit_diff }"
        ),
    ],
)
def test_comments_and_white_space_change_nothing(world: Path, same: str) -> None:
    assert same != PROGRAM
    assert locked(world, same) == locked(world, PROGRAM)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threshold = 0.5", "threshold = 0.4", "param `threshold` is not what it was"),
        ("+ threshold", "+ threshold / 2", "the claim is new or means something else"),
        (" at 0.99", "", "the claim is new or means something else"),
        ("seed 0", "seed 3", "pair `flip.test` is not what it was"),
        ("patch s ", "patch resid_post[1] @ S2 ", "means something else"),
        ('"tiny-llama"', '"tiny-gpt2"', "the model was tiny-llama and is tiny-gpt2"),
        ("report logit_diff", "report logit_diff, prob", "means something else"),
    ],
)
def test_what_matters_changes_it(
    world: Path, old: str, new: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    locked(world, PROGRAM)
    assert PROGRAM.count(old) == 1 or old in ("seed 0",)
    (world / "p.cpatch").write_text(PROGRAM.replace(old, new))
    capfd.readouterr()
    assert main(["lock", str(world / "p.cpatch"), "--check"]) == 1
    assert said in capfd.readouterr().out
    assert main(["run", str(world / "p.cpatch"), "--locked", "--out", str(world / "no")]) == 2
    assert said in capfd.readouterr().err
    assert not (world / "no").exists()


def test_claims_of_a_run_are_registered_or_exploratory(world: Path) -> None:
    locked(world, PROGRAM)
    more = PROGRAM + "let n = m.a.logit_diff\nexpect n < 9  # found later\n"
    (world / "p.cpatch").write_text(more)
    main(["run", str(world / "p.cpatch"), "--out", str(world / "run")])
    found = json.loads((world / "run" / "results.json").read_text())["expectations"]
    assert [claim["registered"] for claim in found] == [True, True, False]
    assert (world / "run" / "p.lock").read_text() == (world / "p.lock").read_text()
    main(["run", str(world / "p.cpatch"), "--seed", "1", "--out", str(world / "run")])
    found = json.loads((world / "run" / "results.json").read_text())["expectations"]
    assert [claim["registered"] for claim in found] == [False, False, False]
    (world / "p.lock").unlink()
    main(["run", str(world / "p.cpatch"), "--out", str(world / "run")])
    found = json.loads((world / "run" / "results.json").read_text())["expectations"]
    assert [claim["registered"] for claim in found] == [None, None, None]


def test_without_a_lock_locked_is_refused(world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (world / "new.cpatch").write_text(PROGRAM)
    assert main(["run", str(world / "new.cpatch"), "--locked"]) == 2
    assert "there is no" in capfd.readouterr().err
    (world / "new.lock").write_text("{}")
    assert main(["run", str(world / "new.cpatch"), "--locked"]) == 2
    assert "is no lock" in capfd.readouterr().err
