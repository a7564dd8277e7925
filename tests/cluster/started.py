"""A run by workers in a process of its own, whose children can be told from all others.

``python -m tests.cluster.started PROGRAM STORE ON COUNT KILLS`` kills a random worker KILLS times
at random moments, and prints as JSON how many shards were lost, how many workers were killed, what
was made otherwise than it should be, and the run's numbers by pair in hexadecimal.
"""

from __future__ import annotations

import hashlib
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
from causaldsl.cluster import coordinate, ray_pool
from causaldsl.cluster.ray_pool import RayWorker
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


def name_of(shard: Shard) -> str:
    return hashlib.sha256(repr((shard.keys, shard.rows)).encode()).hexdigest()[:16]


class Telling(RayWorker):
    """A worker that writes down which shards it begins and ends, in its own process."""

    def make(self, shard: Shard) -> Ended:
        self.write("begun", shard)
        end = super().make(shard)
        self.write("ended", shard)
        return end

    def write(self, what: str, shard: Shard) -> None:
        log = os.open(f"{self.job.store}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(log, f"{what} {name_of(shard)}\n".encode())
        os.close(log)


class Killing:
    """A pool whose workers are killed at random, whether they are at a shard or wait for one."""

    def __init__(self, pool: Any, kills: int):
        self.pool, self.kills = pool, kills
        self.given: Counter[Shard] = Counter()
        self.lost: Counter[Shard] = Counter()
        self.killed: set[int] = set()
        self.chance = random.Random(kills)
        self.next = time.monotonic() + self.chance.uniform(0, 2)

    def give(self, shards: Sequence[Shard]) -> None:
        self.given.update(shards)
        self.pool.give(shards)

    def ended(self) -> list[Ended]:
        there = {actor.process for actor in self.pool.actors if actor.process} - self.killed
        if len(self.killed) < self.kills and there and time.monotonic() > self.next:
            self.killed.add(victim := self.chance.choice(sorted(there)))
            os.kill(victim, signal.SIGKILL)
            self.next = time.monotonic() + self.chance.uniform(0, 2)
        found: list[Ended] = self.pool.ended()
        self.lost.update(end.shard for end in found if end.lost)
        return found

    @property
    def doing(self) -> str:
        return str(self.pool.doing)

    def wrong(self, log: Sequence[str]) -> list[str]:
        """Shards that were given out or made more often than they were lost, or never."""
        times, found = Counter(log), []
        for shard, given in self.given.items():
            begun, ended = (times[f"{what} {name_of(shard)}"] for what in ("begun", "ended"))
            if not 1 <= ended <= begun <= given == 1 + self.lost[shard]:
                said = f"given {given}, lost {self.lost[shard]}, begun {begun}, ended {ended}"
                found.append(f"{shard.what} {shard.rows}: {said}")
        return found


def main(program: Path, store: Path, on: str, count: int, kills: int) -> None:
    before, made = coordinate.POOLS["ray"], []
    coordinate.TRIES += kills
    ray_pool.RayWorker = Telling  # type: ignore[misc]

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
    said: dict[str, Any] = {"lost": sum(pool.lost.values()), "killed": len(pool.killed)}
    said["wrong"] = pool.wrong(Path(f"{store}.log").read_text().splitlines())
    print(json.dumps(said | {"shards": len(pool.given), "numbers": numbers}))


if __name__ == "__main__":
    program, store, on, count, kills = sys.argv[1:]
    main(Path(program), Path(store), on, int(count), int(kills))
