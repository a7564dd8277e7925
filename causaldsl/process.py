"""What makes a process faster that runs one command and ends; a library does none of it.

And what dead processes left behind.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_LARGEST = ("torch", "transformers")
"""The imports that bring most."""
_owned = False


@contextmanager
def owned() -> Iterator[None]:
    """The process belongs to causaldsl for the block, which may change its allocator and garbage
    collection. The command line says so; a library never does."""
    global _owned
    before, _owned = _owned, True
    try:
        yield
    finally:
        _owned = before


def is_owned() -> bool:
    """Whether what concerns the whole process may be changed."""
    return _owned


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection, in a process that is ours.

    Importing torch and transformers makes a million objects that stay, and going through them again
    and again is a fifth of the time that it takes. Once they are there, they are never looked at
    again, also not when the process ends.
    """
    if not _owned:
        yield
        return
    collects, before = gc.isenabled(), [name in sys.modules for name in _LARGEST]
    gc.disable()
    try:
        yield
    finally:
        if before != [name in sys.modules for name in _LARGEST]:
            gc.freeze()
        if collects:
            gc.enable()


_MARK = re.compile(r"\.([0-9a-f]{12})\.(\d+)$")
_LEFT = 7 * 24 * 3600.0
"""Seconds after which what another machine began to write is taken for left behind."""


def mark() -> str:
    """Ends the name of what this process has in the making: its machine and its number."""
    return f"{_host()}.{os.getpid()}"


def clear_left_behind(folder: Path, pattern: str) -> None:
    """Delete files and folders that end in a mark of a process that is dead.

    Of another machine's it is not known; what they have in the making is left behind after a week.
    """
    for path in folder.glob(pattern):
        marked = _MARK.search(path.name)
        if marked is None or not _is_dead(path, *marked.groups()):
            continue
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _is_dead(path: Path, host: str, process: str) -> bool:
    if host == _host():
        return not _is_alive(int(process))
    try:
        return time.time() - path.stat().st_mtime > _LEFT
    except OSError:
        return False


@cache
def _host() -> str:
    """This machine, or the container, whose processes have numbers of their own."""
    numbers = Path("/proc/self/ns/pid")
    said = f"{socket.gethostname()} {os.readlink(numbers) if numbers.is_symlink() else ''}"
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True
