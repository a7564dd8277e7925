"""What a folder that was made here holds: the hash of every file, checked whenever it is read.

A converted model is half a gigabyte in a cache, where a disk, a cleaning program or a copy that was
broken off can change it. Its numbers would be wrong without a word. So a manifest is written beside
the files as they are made. Reading compares sizes, and hashes of files whose size or time has
changed since they were hashed last; ``models verify`` hashes all of them anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import (
    Progress,
    build_once,
    remember_sha256,
    remembered_sha256,
    sha256,
)
from causaldsl.model.json_files import read_object
from causaldsl.user_cache import write_atomically

NAME = "manifest.json"


def made(
    target: Path, build: Callable[[Path], None], what: str, say: Progress, fully: bool = False
) -> Path:
    """The folder ``target``, filled by ``build`` if it is not there or is damaged.

    ``what`` is what people call it; ``fully`` hashes every file anew. A folder of an older version
    has no manifest: it gets one of what it holds now.

    Raises:
        Mistake: if it is damaged and can't be made anew, with why.
    """
    build_once(target, lambda folder: _build(folder, build))
    bad = list(damaged(target, fully))
    if bad:
        say(f"{what} is damaged on this machine: {'; '.join(bad)}. It is made anew")
        aside = target.with_name(f".{target.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        target.rename(aside)
        try:
            build_once(target, lambda folder: _build(folder, build))
        except Mistake as mistake:
            message = f"{what} is damaged on this machine ({'; '.join(bad)}) and can't be mended: "
            raise Mistake("model-damaged", message + mistake.message, mistake.help) from mistake
        finally:
            if target.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.rename(target)
    _remember(target)
    return target


def damaged(folder: Path, fully: bool = False) -> Iterator[str]:
    """What is wrong with each file that is not as it was made; ``fully`` hashes all of them."""
    try:
        files = read_object(folder / NAME, "bad-manifest")["files"]
        known = {str(name): (int(of["size"]), str(of["sha256"])) for name, of in files.items()}
    except FileNotFoundError:
        return  # of an older version
    except (Mistake, KeyError, TypeError, ValueError, AttributeError):
        yield f"{NAME} can't be read"
        return
    for name, (size, digest) in known.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != size:
            yield f"{name} has {path.stat().st_size} bytes where it had {size}"
        elif (sha256(path) if fully else remembered_sha256(path)) != digest:
            yield f"{name} holds other bytes than it did"


def has_manifest(folder: Path) -> bool:
    """Whether it is known what a folder should hold."""
    return (folder / NAME).is_file()


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    build(folder)
    _write(folder)


def _write(folder: Path) -> None:
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != NAME
    }
    write_atomically(folder / NAME, json.dumps({"schema": 1, "files": files}, indent=1) + "\n")


def _remember(folder: Path) -> None:
    """Give an old folder a manifest, and remember the hashes of what was just made."""
    try:
        if not has_manifest(folder):
            _write(folder)
            for name, of in read_object(folder / NAME, "bad-manifest")["files"].items():
                remember_sha256(folder / name, of["sha256"])
    except OSError:
        return  # a cache that can't be written to


def git_sha1(path: Path) -> str:
    """The hash under which git keeps a file."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
