"""The folder of records: what is used stays, what is dead goes, what is damaged is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from causaldsl.cli import main
from causaldsl.content_store import LIMIT, ContentStore, chosen_store
from causaldsl.diagnostics import Mistake
from causaldsl.process import mark
from causaldsl.results.store import run_folder


def record(*keys: str, size: int = 0) -> bytes:
    """A record without tensors, padded to so many bytes."""
    said = json.dumps({"keys": list(keys), "what": f"the value of {keys[0]}", "pad": "." * size})
    head = json.dumps({"__metadata__": {"causaldsl": said}}).encode()
    return len(head).to_bytes(8, "little") + head


def keys_of(store: ContentStore, *keys: str) -> list[list[str]]:
    return [said["keys"] for said, _ in store.get(keys)]


def test_one_key_leads_to_all_that_was_put_together(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.put(["aa", "bb"], record("aa", "bb"))
    (tmp_path / "v1/keys/bb/bb").unlink()  # its writer died before
    assert keys_of(ContentStore(tmp_path), "aa", "bb", "cc") == [["aa", "bb"]]


def test_a_key_that_leads_to_a_record_of_others_is_not_believed(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.put(["aa"], record("aa"))
    (tmp_path / "v1/keys/bb").mkdir()
    (tmp_path / "v1/keys/bb/bb").write_bytes((tmp_path / "v1/keys/aa/aa").read_bytes())
    assert keys_of(store, "bb") == []
    (tmp_path / "v1/keys/bb/bb").write_text("../../../../etc/passwd")
    assert keys_of(store, "bb") == []


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = ContentStore(tmp_path, limit=2 * (4096 + 1250))  # a key takes a block of the disk
    for age, key in enumerate(["aa", "bb"]):
        store.put([key], record(key, size=1000))
        os.utime(next((tmp_path / "v1/records").glob("*/*")), (age, age))
    for path in (tmp_path / "v1/records").glob("*/*"):
        os.utime(path, (1, 1))
    assert keys_of(store, "aa") == [["aa"]]  # it is used
    store.put(["cc"], record("cc", size=1000))
    assert keys_of(ContentStore(tmp_path), "aa", "bb", "cc") == [["aa"], ["cc"]]
    assert not (tmp_path / "v1/keys/bb/bb").exists()
    assert store.size() <= store.limit


def test_a_store_that_is_deleted_while_it_is_in_use(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "store")
    store.put(["aa"], record("aa"))
    shutil.rmtree(tmp_path / "store")
    store.put(["bb"], record("bb"))
    assert keys_of(store, "aa", "bb") == [["bb"]]


def test_a_store_that_can_t_be_written_to_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ContentStore(tmp_path).put(["aa"], record("aa"))

    def refused(*given: object, **more: object) -> None:
        raise OSError(30, "Read-only file system")

    for owner, name in ((os, "utime"), (os, "replace"), (Path, "write_bytes"), (Path, "mkdir")):
        monkeypatch.setattr(owner, name, refused)
    store = ContentStore(tmp_path)
    assert keys_of(store, "aa") == [["aa"]]
    with pytest.raises(OSError, match="Read-only"):
        store.put(["bb"], record("bb"))
    (tmp_path / "file").touch()
    for place in ("file", "nowhere"):
        assert keys_of(ContentStore(tmp_path / place), "aa") == []
        assert ContentStore(tmp_path / place).records() == []


def test_a_value_that_replaces_another_leaves_one_record(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    for size in (1, 2, 3):
        store.put(["aa"], record("aa", size=size), replace=True)
    assert len(store.records()) == 1
    store.drop("aa")
    assert store.records() == []


def test_what_a_dead_writer_left_is_deleted_and_what_a_living_one_makes_is_not(
    tmp_path: Path,
) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "from causaldsl.process import mark; print(mark())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    store = ContentStore(tmp_path / "store")
    store.put(["aa"], record("aa"))
    for folder, name in ((tmp_path / "store/v1/new", "0123"), (tmp_path, ".run.abc")):
        (folder / f"{name}.{dead}").mkdir()
        (folder / f"{name}.{mark()}").mkdir()
    ContentStore(tmp_path / "store").put(["bb"], record("bb"))
    with run_folder(tmp_path / "other"):
        pass
    left = {path.name for path in [*tmp_path.iterdir(), *(tmp_path / "store/v1/new").iterdir()]}
    assert left == {"store", "other", f"0123.{mark()}", f".run.abc.{mark()}"}


def test_which_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_store(None) is None  # the tests' own
    assert chosen_store("none") is None
    monkeypatch.setenv("CAUSALDSL_STORE", str(tmp_path))
    monkeypatch.setenv("CAUSALDSL_STORE_LIMIT", "12")
    found = chosen_store(None)
    assert found is not None
    assert (found.folder, found.limit) == (tmp_path, 12)
    monkeypatch.delenv("CAUSALDSL_STORE")
    monkeypatch.setenv("CAUSALDSL_STORE_LIMIT", "4G")
    with pytest.raises(Mistake, match="'4G', which is no number of bytes"):
        chosen_store(None)
    monkeypatch.delenv("CAUSALDSL_STORE_LIMIT")
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path / "cache"))
    found = chosen_store(None)
    assert found is not None
    assert (found.folder, found.limit) == (tmp_path / "cache/store", LIMIT)


def test_the_command_lists_verifies_and_clears(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, given = ContentStore(tmp_path), ["--store", str(tmp_path)]
    for key in ("aa", "bb"):
        store.put([key], record(key))
    assert main(["store", "ls", *given]) == 0
    assert "the value of aa" in capsys.readouterr().out
    assert main(["store", "verify", *given]) == 0
    path = store.records()[0].path
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["store", "verify", *given]) == 1
    assert "was damaged" in capsys.readouterr().out
    assert main(["store", "verify", *given]) == 0
    assert main(["store", "gc", *given, "--store-limit", "0"]) == 0
    assert store.records() == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert main(["store", "--store", "none"]) == 2
