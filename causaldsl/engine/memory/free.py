"""How much memory is free on a device."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 4 * 2**30
"""Assumed where the machine can't be asked."""


def free_bytes(device: str) -> int:
    """Free memory of a device in bytes; where that is not known, all its memory."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    machine = _available() or _all()
    return min(machine, _of_group(machine))


def _all() -> int:
    if not hasattr(os, "sysconf"):  # Windows
        return _UNKNOWN
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _available() -> int:
    """What Linux says a process can get without swapping; 0 elsewhere."""
    if not _MEMINFO.is_file():
        return 0
    fields = dict(line.split(":") for line in _MEMINFO.read_text().splitlines() if ":" in line)
    return int(fields.get("MemAvailable", "0 kB").split()[0]) * 1024


def _of_group(otherwise: int) -> int:
    """What a container may still take."""
    try:
        limit, used = ((_GROUP / f"memory.{n}").read_text().strip() for n in ("max", "current"))
        return max(0, int(limit) - int(used))
    except (OSError, ValueError):  # no such container, or it has no limit
        return otherwise
