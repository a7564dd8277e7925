"""The user's cache of models: folders that are whole or not there at all.

A folder is built beside its place under a temporary name and then renamed, so an interrupted
build leaves nothing that could be taken for a model; a lock file lets one process build while the
others wait.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from causaldsl.user_cache import cache_folder, write_atomically

Progress = Callable[[str], None]


def build_once(target: Path, build: Callable[[Path], None]) -> None:
    """Make sure that the folder ``target`` exists, letting ``build`` fill an empty one if not.

    Whatever ``build`` raises is passed on, and nothing of what it wrote stays. What a killed
    process left behind is removed by the next one that builds here.
    """
    if target.is_dir():
        return
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.is_dir():  # another process was faster
            return
        for left in target.parent.glob(f".{target.name}.partial-*"):
            shutil.rmtree(left, ignore_errors=True)
        partial = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent)
        )  # the same file system as the target, so that the rename is atomic
        try:
            build(partial)
            partial.chmod(0o755)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """The SHA-256 of a large file, remembered in the cache until its size or a time changes."""
    note = _seen(path)
    with suppress(OSError, UnicodeDecodeError):
        digest = note.read_text("ascii").strip()
        if re.fullmatch("[0-9a-f]{64}", digest):
            return digest
    digest = sha256(path)
    remember_sha256(path, digest)
    return digest


def remember_sha256(path: Path, digest: str) -> None:
    """Note the SHA-256 of a file; where the cache can't be written to, nothing is noted."""
    note = _seen(path)
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, digest)


def _seen(path: Path) -> Path:
    """Where the hash is noted. Programs that copy files set the time of the last change back, but
    not the time at which the system did that."""
    stat = path.stat()
    seen = f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}\n{stat.st_ctime_ns}"
    return cache_folder() / "seen" / hashlib.sha256(seen.encode()).hexdigest()
