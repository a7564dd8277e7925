"""What makes a process faster that runs one command and ends; a library does none of it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
