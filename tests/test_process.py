"""The command as a process: readers that go away, disks that are full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "causaldsl"]
FELL, FAILED = 1, 3


def closed() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("words", [["models"], ["check", "--tree", "programs/toy_illusion.cpatch"]])
def test_a_reader_that_goes_away_is_no_failure(words: list[str]) -> None:
    writing = closed()
    done = subprocess.run([*COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_claims_that_fall_say_so_to_a_shell_that_reads_no_table(tmp_path: Path) -> None:
    program = tmp_path / "falls.cpatch"
    text = Path("programs/toy_illusion.cpatch").read_text()
    program.write_text(text + "\nexpect 1 > 2\n")
    writing = closed()
    done = subprocess.run(
        [*COMMAND, "run", str(program), "--out", str(tmp_path / "run")],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (FELL, "")
    assert (tmp_path / "run" / "results.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_message() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "models"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == FAILED
    assert done.stderr == "error: the system says: [Errno 28] No space left on device\n"
