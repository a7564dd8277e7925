import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from causaldsl.model.cache import build_once, remembered_sha256, sha256
from causaldsl.user_cache import cache_folder

ROOT = Path(__file__).resolve().parents[2]

SLOW_BUILD = """
import sys, time
from pathlib import Path
from causaldsl.model.cache import build_once

def build(folder):
    (folder / "half").write_text("written")
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "whole").write_text("written")

build_once(Path(sys.argv[1]), build)
"""


def slow_builder(target, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD, str(target), str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("CAUSALDSL_CACHE")
    assert cache_folder().name == "causaldsl"


def test_a_folder_is_built_once(tmp_path):
    calls = []
    for _ in range(2):
        build_once(tmp_path / "models" / "m", lambda folder: calls.append(folder))
    assert len(calls) == 1
    assert names(tmp_path / "models") == ["m"]


def test_a_failed_build_leaves_nothing(tmp_path):
    def build(folder):
        (folder / "half").write_text("written")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path / "m", build)
    assert names(tmp_path) == []


def test_a_killed_build_is_no_model_and_is_cleared_away(tmp_path):
    process = slow_builder(tmp_path / "m", 60)
    assert process.stdout.readline() == "building\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "m").exists()
    assert len(names(tmp_path)) == 1  # what it left, under a name that nobody takes for a model

    build_once(tmp_path / "m", lambda folder: (folder / "whole").write_text("written"))
    assert names(tmp_path) == ["m"]
    assert names(tmp_path / "m") == ["whole"]


def test_two_processes_at_once_build_one_folder(tmp_path):
    builders = [slow_builder(tmp_path / "m", 0.5) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in builders]
    assert [process.returncode for process in builders] == [0, 0]
    assert sorted(said) == ["", "building\n"]
    assert names(tmp_path / "m") == ["half", "whole"]


def test_a_hash_is_remembered_until_the_file_changes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = remembered_sha256(path)
    assert first == sha256(path) == remembered_sha256(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert remembered_sha256(path) == sha256(path) != first
    found = path.stat()
    path.write_bytes(b"six")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # as programs that copy do
    assert remembered_sha256(path) == sha256(path)


def test_a_hash_that_was_cut_short_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "file"
    path.write_bytes(b"one")
    found = remembered_sha256(path)
    (note,) = (tmp_path / "cache/seen").iterdir()
    for text in ("", found[:20], "é"):
        note.write_text(text)
        assert remembered_sha256(path) == found == note.read_text()
