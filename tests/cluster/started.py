"""A run by workers in a process of its own, whose children can be told from all others.

``python -m tests.cluster.started PROGRAM STORE ON COUNT KILLS`` kills a random worker KILLS times
at random moments, and prints what became of the shards as JSON: how often each was given out, how
many were lost, and the run's numbers by pair in hexadecimal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from causaldsl import api
from causaldsl.cluster import coordinate
from causaldsl.cluster.shards import Shard
from causaldsl.cluster.where import Workers
from causaldsl.cluster.worker import Ended, Job

MARK = "CAUSALDSL_TEST_MARK"


def left(mark: str) -> list[str]:
    """The processes of this machine that have the mark in their environment, but this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}\0".encode() in (folder / "environ").read_bytes():
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if int(folder.name) != os.getpid() and state != "Z":
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
        except (OSError, ValueError):  # it has ended
            continue
    return found


class Killing:
    """A pool whose workers are killed at random."""

    def __init__(self, pool: Any, kills: int):
        self.pool, self.kills = pool, kills
        self.given: Counter[Shard] = Counter()
        self.lost: Counter[Shard] = Counter()
        self.chance = random.Random(kills)
        self.next = time.monotonic() + self.chance.uniform(0, 2)

    def give(self, shards: Sequence[Shard]) -> None:
        self.given.update(shards)
        self.pool.give(shards)

    def ended(self) -> list[Ended]:
        busy = [actor for actor in self.pool.actors if actor.process and actor.shard is not None]
        if self.kills and busy and time.monotonic() > self.next:
            os.kill(self.chance.choice(busy).process, signal.SIGKILL)
            self.kills -= 1
            self.next = time.monotonic() + self.chance.uniform(0, 2)
        found: list[Ended] = self.pool.ended()
        self.lost.update(end.shard for end in found if end.lost)
        return found

    @property
    def doing(self) -> str:
        return str(self.pool.doing)


def main(program: Path, store: Path, on: str, count: int, kills: int) -> None:
    before, made = coordinate.POOLS[on.partition(":")[0]], []
    coordinate.TRIES += kills

    @contextmanager
    def killing(workers: Workers, job: Job) -> Iterator[Killing]:
        with before(workers, job) as pool:
            made.append(Killing(pool, kills))
            yield made[0]

    coordinate.POOLS["ray"] = killing

    def progress(what: str, done: int, total: int) -> None:
        print(f"{what}, {done} of {total}", file=sys.stderr, flush=True)

    run = api.run(
        program, store=store, workers=Workers(on, count), dtype="float64", progress=progress
    )
    numbers = [block.values.astype(float).tobytes().hex() for block in run.by_pair]
    (pool,) = made
    said = {"given": list(pool.given.values()), "lost": sum(pool.lost.values())}
    right = pool.given == pool.lost + Counter(list(pool.given))
    print(json.dumps(said | {"right": right, "kills": kills - pool.kills, "numbers": numbers}))


if __name__ == "__main__":
    program, store, on, count, kills = sys.argv[1:]
    main(Path(program), Path(store), on, int(count), int(kills))
