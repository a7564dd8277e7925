"""A run that is killed loses at most what it was at, and the next one ends with the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from causaldsl.cli import main
from tests.engine.test_store import SMALL
from tests.frontend.world import make_world


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_runs_that_are_killed_at_random_moments_and_eight_at_once(
    count: int, tmp_path: Path
) -> None:
    make_world(tmp_path)
    command = [sys.executable, "-m", "tests.engine.killed", str(tmp_path), str(count), "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_world(tmp_path)
    (folder / "p.cpatch").write_text(SMALL)
    command = ["run", str(folder / "p.cpatch"), "--store", str(tmp_path / "store")]
    command += ["--out", str(tmp_path / "run")]
    before, writes = os.replace, 0

    def replace(old: Path, new: Path) -> None:
        nonlocal writes
        writes += "/v1/" in str(new)
        if writes == 20:
            raise KeyboardInterrupt
        before(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        assert main(command) == 130
    said = capsys.readouterr().err
    assert "operations are kept in" in said
    assert "the same command goes on from there" in said
    kept = int(said.partition("stopped; ")[2].split()[0])
    assert main(command) == 4  # its claim is undecided
    said = capsys.readouterr().err
    assert f"{kept} of 8 operations from the store" in said
    assert kept > 0
