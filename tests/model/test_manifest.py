"""A model that was made or fetched here is what it was then; what is not is named and mended."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from causaldsl.cli import main
from causaldsl.diagnostics import Mistake
from causaldsl.model import gguf_files, hub, manifest
from causaldsl.model.catalog import resolve, verify
from causaldsl.model.folders import weight_count, weight_files
from causaldsl.model.gguf_files import check_header
from tests.tiny import tiny_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w" * 100_000)
    (folder / "config.json").write_text("{}")


def told() -> tuple[list[str], object]:
    said: list[str] = []
    return said, said.append


def zeroed(path: Path) -> None:
    """As a disk does it: the size stays."""
    with path.open("r+b") as file:
        file.seek(40_000)
        file.write(bytes(100))


def later(path: Path) -> None:
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))


@pytest.mark.parametrize("damage", [zeroed, Path.unlink, lambda p: p.write_bytes(b"w" * 99_999)])
def test_damage_is_named_and_mended(damage, tmp_path: Path) -> None:
    target, (said, say) = tmp_path / "models" / "m", told()
    manifest.made(target, build, "the model m", say)
    assert said == []
    weights = target / "weights"
    damage(weights)
    if weights.exists():
        later(weights)
    (bad,) = manifest.damaged(target)
    assert bad.startswith("weights ")
    manifest.made(target, build, "the model m", say)
    (message,) = said
    assert message.startswith(f"the model m is damaged on this machine: {bad}")
    assert weights.read_bytes() == b"w" * 100_000
    assert list(manifest.damaged(target, fully=True)) == []
    assert sorted(path.name for path in target.parent.iterdir()) == [".m.lock", "m"]


def test_unchanged_files_are_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m"
    manifest.made(target, build, "m", print)
    hashed: list[Path] = []
    before = manifest.sha256
    for module in ("causaldsl.model.manifest", "causaldsl.model.cache"):
        monkeypatch.setattr(f"{module}.sha256", lambda path: hashed.append(path) or before(path))
    manifest.made(target, build, "m", print)
    assert hashed == []
    good = before(target / "weights")
    zeroed(target / "weights")
    manifest.remember_sha256(target / "weights", good)  # as where the disk itself is at fault
    assert list(manifest.damaged(target)) == []  # this is what `models verify` is for
    assert list(manifest.damaged(target, fully=True)) == ["weights holds other bytes than it did"]


def test_what_can_t_be_mended_stays_and_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "m"
    manifest.made(target, build, "m", print)
    zeroed(target / "weights")
    later(target / "weights")

    def gone(folder: Path) -> None:
        raise Mistake("model-absent", "there is no network", "try later")

    for _ in range(2):
        with pytest.raises(Mistake, match=r"m is damaged .* and can't be mended: there is no"):
            manifest.made(target, gone, "m", lambda message: None)
    assert (target / "weights").is_file()
    manifest.made(target, build, "m", lambda message: None)
    assert list(manifest.damaged(target, fully=True)) == []


def test_a_folder_of_an_older_version_gets_a_manifest(tmp_path: Path) -> None:
    target = tmp_path / "m"
    target.mkdir()
    build(target)
    manifest.made(target, build, "m", print)
    zeroed(target / "weights")
    later(target / "weights")
    assert list(manifest.damaged(target)) == ["weights holds other bytes than it did"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": 3}', '{"files": {"w": 1}}', "[" * 9999]
)
def test_a_manifest_that_is_none(text: str, tmp_path: Path) -> None:
    manifest.made(tmp_path / "m", build, "m", print)
    (tmp_path / "m" / manifest.NAME).write_text(text)
    assert list(manifest.damaged(tmp_path / "m")) == ["manifest.json can't be read"]
    manifest.made(tmp_path / "m", build, "m", lambda message: None)
    assert list(manifest.damaged(tmp_path / "m", fully=True)) == []


def test_a_converted_file_is_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The conversion itself has its own tests; here the folder is a copy of a tiny model."""
    from shutil import copy

    tiny, source = tiny_folder(tmp_path, "llama"), tmp_path / "tiny.gguf"
    source.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    calls: list[Path] = []

    def convert(module: str, gguf: Path, folder: Path) -> None:
        calls.append(folder)
        for path in tiny.iterdir():
            copy(path, folder)

    monkeypatch.setattr(gguf_files, "run_converter", convert)
    spec = resolve(str(source), tmp_path)
    assert spec.path is not None
    assert verify(str(source)) == []
    assert main(["models", "verify", str(source)]) == 0
    weights = spec.path / "model.safetensors"
    before = weights.read_bytes()
    with weights.open("r+b") as file:
        file.seek(-5000, os.SEEK_END)
        file.write(bytes(4000))
    later(weights)
    assert main(["models", "verify", str(source)]) == 1
    assert "model.safetensors holds other bytes" in capsys.readouterr().out
    said, say = told()
    assert resolve(str(source), tmp_path, say) == spec
    assert weights.read_bytes() == before
    assert "is damaged on this machine: model.safetensors holds" in said[0]
    assert len(calls) == 2
    assert main(["models", "pull", str(source)]) == 0


def test_files_of_the_hub_are_called_by_their_hashes(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "c0ffee"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    weights, config = b"w" * 5000, b'{"model_type": "llama"}'
    names = {
        "model.safetensors": (hashlib.sha256(weights).hexdigest(), weights),
        # What `git hash-object` says of it.
        "config.json": (hashlib.sha1(b"blob 23\0" + config).hexdigest(), config),
    }
    for name, (digest, data) in names.items():
        (blobs / digest).write_bytes(data)
        (snapshot / name).symlink_to(blobs / digest)
    assert list(hub.damaged(snapshot, fully=True)) == []
    for name, (digest, data) in names.items():
        (blobs / digest).write_bytes(data[:-1] + b"x")
        later(blobs / digest)
        assert list(hub.damaged(snapshot)) == [f"{name} holds other bytes than the hub gave"]
        (blobs / digest).write_bytes(data)
        later(blobs / digest)
        later(blobs / digest)
    (blobs / names["config.json"][0]).unlink()
    assert list(hub.damaged(snapshot)) == ["config.json is missing"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a GGUF file"),
        (b"GGU", "is not a GGUF file"),
        (b"GGUF\3\0\0\0", "ends within its header"),
        (b"GGUF\x09\0\0\0" + bytes(16), "is of version 9"),
        (b"GGUF\3\0\0\0" + b"\xff" * 16, "says it holds 18446744073709551615 tensors"),
        (b"GGUF\3\0\0\0" + bytes(8) + b"\1" + bytes(7), "0 tensors and 1 fields"),
    ],
)
def test_headers_that_promise_too_much(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(Mistake) as caught:
        check_header(path)
    assert said in caught.value.message


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff" * 8,
        (10**6).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"null",
        (9999).to_bytes(8, "little") + b"[" * 9999,
        (7).to_bytes(8, "little") + b'{"w":1}',
        (20).to_bytes(8, "little") + b'{"w":{"shape":[-1]}}',
    ],
)
def test_headers_of_safetensors(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(header)
    with pytest.raises(Mistake, match="is not a safetensors file"):
        weight_count(tmp_path)


def test_an_index_names_no_file_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (folder / "a.safetensors").write_bytes(b"x")
    for name in ("../secret.safetensors", str(tmp_path / "secret.safetensors")):
        index = {"weight_map": {"w": "a.safetensors", "v": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert weight_files(folder) == []
