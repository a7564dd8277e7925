"""Freed memory that stays with the process while training, instead of going back to the system.

Every step frees and asks for the same large tensors. The C library gives such memory back at once,
and gets it again page by page, each to be filled with zeros: a tenth of a step of 64 pairs. Only
where the C library is GNU's, for tensors on the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from causaldsl.process import is_owned

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""mallopt's options: free memory at the heap's end, and the size of an allocation, from which on
memory goes back to the system."""
_TRAINING = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1}
_OTHERWISE = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}
"""What the library itself arrives at when large pieces are freed."""


@contextmanager
def kept_heap() -> Iterator[None]:
    """Keep what is freed until the end, and then give it back, in a process that is ours."""
    library = _glibc() if is_owned() else None
    if library is None:
        yield
        return
    _set(library, _TRAINING)
    try:
        yield
    finally:
        _set(library, _OTHERWISE)
        library.malloc_trim(0)


def _set(library: Any, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)


def _glibc() -> Any:
    """The C library of this process if it is GNU's."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return library if hasattr(library, "gnu_get_libc_version") else None
