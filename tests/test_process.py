"""The command as a process: readers that go away, streams that are closed, disks that are full."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "causaldsl"]
HELD, FELL, WRONG, FAILED = 0, 1, 2, 3
TOY = "programs/toy_illusion.cpatch"


def unread(*words: str, errors: bool = False) -> tuple[int, str]:
    """Exit code, and what is said on the other stream, where nobody reads the one."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": writing, "stderr": subprocess.PIPE}
    if errors:
        streams = {"stdout": subprocess.PIPE, "stderr": writing}
    done = subprocess.run([*COMMAND, *words], text=True, **streams)
    os.close(writing)
    return done.returncode, done.stdout if errors else done.stderr


@pytest.fixture(scope="module")
def falls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("falls") / "falls.cpatch"
    path.write_text(Path(TOY).read_text() + "\nexpect   1 > 2\n")
    return path


@pytest.mark.parametrize(
    "words", [["models"], ["check", "--tree", TOY], ["graph", TOY], ["--help"]]
)
def test_a_reader_that_goes_away_is_no_failure(words: list[str]) -> None:
    assert unread(*words) == (HELD, "")


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_claims_that_fall_say_so_to_a_shell_that_reads_no_table(
    how: list[str], falls: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert unread("run", str(falls), "--out", str(out), *how) == (FELL, "")
    assert (out / "results.json").is_file()


def test_a_style_that_is_not_the_house_s_says_so_too(falls: Path) -> None:
    assert unread("format", "--check", str(falls)) == (FELL, "")


def test_mistakes_keep_their_exit_code_where_nobody_reads_them(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.cpatch"
    wrong.write_text("measure\n")
    assert unread("check", str(wrong), errors=True) == (WRONG, "")
    assert unread("check", "nowhere.cpatch", errors=True) == (WRONG, "")
    assert unread("format", "--check", TOY, errors=True)[0] == HELD


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(closed: str) -> None:
    shell = f'"{sys.executable}" -m causaldsl check {TOY} {closed}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (HELD, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_message() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "models"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == FAILED
    assert done.stderr == "error: the system says: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    words = ["run", TOY, "--out", str(tmp_path / "run")]
    # A shell starts what it runs in the background with Ctrl-C ignored.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        [*COMMAND, *words], text=True, stderr=subprocess.PIPE, preexec_fn=listening
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # it is importing torch by now
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "stopped; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_what_is_to_be_done_at_the_end_is_done(tmp_path: Path) -> None:
    """Such as removing folders that a library made."""
    mark = tmp_path / "done"
    code = f"""
import atexit, pathlib
from causaldsl.__main__ import leave
atexit.register(pathlib.Path({str(mark)!r}).touch)
leave(2)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 2
    assert mark.exists()
