"""Bytes: what a budget allows, and what clean runs keep."""

from __future__ import annotations

import re

from causaldsl.diagnostics import Mistake

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LARGEST_DEFAULT = 2**30


def parse_bytes(text: str) -> int:
    """A size as it is written on the command line, in bytes: units are powers of 1024.

    >>> parse_bytes("4G"), parse_bytes("1.5 MiB"), parse_bytes("800m")
    (4294967296, 1572864, 838860800)

    Raises:
        Mistake: if it is not a size, or none at all.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * 1024 ** _UNITS[match[2].upper()]) if match else 0
    if size < 1:
        raise Mistake("bad-size", f"{text!r} is not an amount of memory", "write 800M or 4G")
    return size


def default_budget(free: int) -> int:
    """How many of ``free`` bytes a run may keep beside the model: an eighth, at most 1 GiB."""
    return min(free // 8, _LARGEST_DEFAULT)


def chunk_rows(bytes_per_pair: int, budget: int) -> int:
    """How many pairs fit into a budget of bytes together; at least one."""
    return max(1, budget // max(1, bytes_per_pair))
