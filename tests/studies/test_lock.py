"""Locks: the same file for the same meaning, and what a run makes of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from causaldsl.cli import main
from tests.frontend.world import PRELUDE, make_world
from tests.tiny import WORDS, deep_folder

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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("= 0.5", "= 0.50"),
        ("expect m.a.logit_diff > -9", "expect (m.a.logit_diff) > -9.0"),
        (" at 0.99\nexpect", " at 0.99 and"),
        ("site s = resid_post[0] @ S2\nmeasure m on flip.test { a = patch s ",
         "site t = resid_post[0] @ S2\nmeasure m on flip.test { a = patch t "),
    ],
)  # fmt: skip
def test_another_writing_is_no_change(world: Path, old: str, new: str) -> None:
    program = PROGRAM + "expect m.a.logit_diff < 9 at 0.99\n"
    locked(world, program)
    assert program.count(old) == 1
    (world / "p.cpatch").write_text(program.replace(old, new).replace("-9 at 0.99 and", "-9 and"))
    assert main(["lock", str(world / "p.cpatch"), "--check"]) == 0


def test_a_name_changes_the_program_and_no_claim(
    world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    locked(world, PROGRAM)
    (world / "p.cpatch").write_text(PROGRAM.replace("measure m ", "measure k ").replace("m.", "k."))
    capfd.readouterr()
    assert main(["lock", str(world / "p.cpatch"), "--check"]) == 1
    assert capfd.readouterr().out == "the program has changed beside its claims\n"


def test_a_claim_that_is_gone_is_said(world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    locked(world, PROGRAM)
    (world / "p.cpatch").write_text(PROGRAM.replace("expect m.a.logit_diff > -9 at 0.99\n", ""))
    capfd.readouterr()
    main(["run", str(world / "p.cpatch"), "--out", str(world / "run")])
    note = "1 claim on record is not in this program"
    found = json.loads((world / "run" / "results.json").read_text())
    assert [claim["registered"] for claim in found["expectations"]] == [True]
    assert note in found["notes"]
    assert note in capfd.readouterr().out
    (world / "p.cpatch").write_text(PROGRAM)
    main(["run", str(world / "p.cpatch"), "--out", str(world / "run")])
    notes = json.loads((world / "run" / "results.json").read_text())["notes"]
    assert not any("on record" in said for said in notes)


def test_imports_of_one_name_are_two(world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        (world / folder).mkdir()
        (world / folder / "common.cpatch").write_text(f"let lim_{folder} = 0.5\n")
    locked(world, 'import "a/common.cpatch"\nimport "b/common.cpatch"\n' + PROGRAM)
    imports = json.loads((world / "p.lock").read_text())["imports"]
    assert list(imports) == ["a/common.cpatch", "b/common.cpatch"]
    for folder in ("a", "b"):
        (world / folder / "common.cpatch").write_text(f"let lim_{folder} = 0.7\n")
        capfd.readouterr()
        assert main(["lock", str(world / "p.cpatch"), "--check"]) == 1
        assert f"`{folder}/common.cpatch` is not what it was" in capfd.readouterr().out
        (world / folder / "common.cpatch").write_text(f"let lim_{folder} = 0.5\n")
    assert main(["lock", str(world / "p.cpatch"), "--check"]) == 0


def test_every_weight_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One byte in the middle of a file whose ends, and so the fingerprint, are the same."""
    world = make_world(tmp_path)
    deep_folder(world, WORDS)
    program = PROGRAM.replace('"tiny-llama"', '"deep"')
    before = locked(world, program)
    [weights] = (world / "deep").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    assert len(content) > 3 * 2**20
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    capfd.readouterr()
    assert main(["lock", str(world / "p.cpatch"), "--check"]) == 1
    assert "or has other weights" in capfd.readouterr().out
    main(["run", str(world / "p.cpatch"), "--out", str(world / "run")])
    found = json.loads((world / "run" / "results.json").read_text())["expectations"]
    assert [claim["registered"] for claim in found] == [False, False]
    now = locked(world, program)
    assert json.loads(before)["fingerprint"] == json.loads(now)["fingerprint"]
