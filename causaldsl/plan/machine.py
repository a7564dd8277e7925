"""What a machine does in a second, as costs are reckoned with: measured once, kept in the cache."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from causaldsl.user_cache import cache_folder, write_atomically

SCHEMA = 1


class Machine(BaseModel):
    """``rates`` are FLOPs a second of float32 matrix products, by how many rows these have.

    ``block`` are seconds that one block of a pass takes beside arithmetic, ``start`` those of
    a run of almost nothing, ``read`` the bytes of weights read in a second, ``base`` the bytes of
    memory of a process that made such a run.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA
    name: str
    threads: int
    measured: str = ""
    """The date; "" for the one that is assumed."""
    rates: dict[int, float]
    block: float
    start: float
    read: float
    base: int

    def rate(self, rows: float) -> float:
        """FLOPs a second with so many rows: between two that were measured, on their power law."""
        known = sorted(self.rates)
        if rows <= known[0] or rows >= known[-1]:
            return self.rates[known[0] if rows <= known[0] else known[-1]]
        above = next(i for i, at in enumerate(known) if at >= rows)
        low, high = known[above - 1], known[above]
        share = math.log(rows / low) / math.log(high / low)
        ends = math.log(self.rates[low]), math.log(self.rates[high])
        return math.exp(ends[0] + share * (ends[1] - ends[0]))


ASSUMED = Machine(
    name="two cores of a server",
    threads=2,
    rates={1: 8e9, 16: 6e10, 64: 1.2e11, 256: 1.5e11, 1024: 1.7e11},
    block=1e-3,
    start=6.0,
    read=5e8,
    base=480 * 2**20,
)
"""Where nobody has measured: what the machine of docs/performance.md does, about."""


def processor() -> str:
    """The processor's name, as far as the system tells."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def this_machine() -> Machine:
    """This machine as it was measured, or :data:`ASSUMED`."""
    try:
        found = Machine.model_validate_json(_file().read_text("utf-8"))
    except (OSError, ValueError, ValidationError):
        return ASSUMED
    return found if found.schema_version == SCHEMA else ASSUMED


def remember(machine: Machine) -> Path:
    """Keep what was measured of this machine, in the user's cache."""
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, machine.model_dump_json(indent=1))
    return path


def _file() -> Path:
    """A file for each machine, as caches may lie on a disk that several share."""
    told = f"{platform.node()} {platform.machine()} {os.cpu_count()}"
    return cache_folder() / "machines" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"
