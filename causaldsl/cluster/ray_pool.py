"""Workers as Ray actors, each a process that holds the model.

An actor that dies, or gives no sign of progress for too long, costs the shard that it was at. It is
replaced, and the shard goes to whoever is free.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from typing import Any

from causaldsl.cluster.shards import Rows, Shard
from causaldsl.cluster.where import Workers
from causaldsl.cluster.worker import Ended, Job, Worker
from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.shown import one_line

_WAIT = 0.2
"""Seconds to wait for something to end."""
_ANSWERS = 10
"""Seconds in which a cluster answers."""
_NO_CLUSTER = "give the address of a cluster's head, as `ray start --head` prints it there"
_NO_START = "let nothing else keep this machine busy, or join a cluster: --on ray:ADDRESS"
_STORE = 128 * 2**20
"""Bytes of Ray's own object store, through which little goes."""


class RayWorker(Worker):
    """A worker whose signs of life can be asked for while it works."""

    def signs(self) -> tuple[int, str, int]:
        """How many there were, the last one, and the process."""
        return self.said, self.doing, os.getpid()


@dataclass(eq=False)
class _Actor:
    """A worker, as seen from here; ``made`` is the promise of the shard that it is at."""

    handle: Any
    shard: Shard | None = None
    rows: Rows | None = None
    made: Any = None
    asked: Any = None
    said: int = -1
    doing: str = "starting"
    heard: float = 0.0
    """When its signs of life last changed."""
    process: int = 0


class RayPool:
    """Actors, and the shards that wait for one."""

    def __init__(self, ray: Any, workers: Workers, job: Job, cpus: int):
        self.ray, self.workers = ray, workers
        options = {"num_cpus": cpus, "num_gpus": workers.gpus, "max_concurrency": 2}
        self._make = ray.remote(**options)(RayWorker).remote
        self._job = ray.put(replace(job, threads=cpus))
        self.actors = [self._new() for _ in range(workers.count)]
        self.queue: deque[Shard] = deque()

    def give(self, shards: Sequence[Shard]) -> None:
        self.queue.extend(shards)
        for actor in self.actors:
            if actor.shard is None and self.queue:
                # One on the pairs whose clean runs it has, if there is one.
                shard = next((s for s in self.queue if s.rows == actor.rows), self.queue[0])
                self.queue.remove(shard)
                actor.shard, actor.rows = shard, shard.rows
                actor.made, actor.heard = actor.handle.make.remote(shard), time.monotonic()

    def ended(self) -> list[Ended]:
        """What has ended; of an actor that is dead or hangs, that its shard is lost."""
        busy = {actor.made: actor for actor in self.actors if actor.shard is not None}
        if not busy:
            return []
        ready, _ = self.ray.wait(list(busy), num_returns=len(busy), timeout=_WAIT)
        found = [self._end(busy[made]) for made in ready]
        found += [
            self._lose(actor, f"nothing was heard of its worker for {self.workers.patience:g} s")
            for actor in self.actors
            if actor.shard is not None and self._hangs(actor)
        ]
        self.give([])
        return found

    @property
    def doing(self) -> str:
        return next((a.doing for a in self.actors if a.shard is not None), "starting")

    def close(self) -> None:
        for actor in self.actors:
            with suppress(Exception):  # the cluster may be gone
                self.ray.kill(actor.handle)

    def _new(self) -> _Actor:
        return _Actor(self._make(self._job))

    def _end(self, actor: _Actor) -> Ended:
        try:
            end: Ended = self.ray.get(actor.made)
        except self.ray.exceptions.RayError as error:
            return self._lose(actor, f"its worker ended: {one_line(error, 500)}")
        if end.lost:
            return self._lose(actor, end.lost)
        actor.shard = None
        return end

    def _lose(self, actor: _Actor, reason: str) -> Ended:
        """Put a new actor in the place of this one."""
        assert actor.shard is not None
        with suppress(Exception):
            self.ray.kill(actor.handle)
        self.actors[self.actors.index(actor)] = self._new()
        return Ended(actor.shard, lost=reason)

    def _hangs(self, actor: _Actor) -> bool:
        """Whether a worker that has begun gives no new sign of progress."""
        now = time.monotonic()
        if actor.asked is None:
            actor.asked = actor.handle.signs.remote()
        ready, _ = self.ray.wait([actor.asked], timeout=0)
        if ready:
            with suppress(self.ray.exceptions.RayError):  # its shard will say so
                said, actor.doing, actor.process = self.ray.get(actor.asked)
                if said != actor.said:
                    actor.said, actor.heard = said, now
            actor.asked = None
        return actor.process > 0 and now - actor.heard > self.workers.patience


@contextmanager
def ray_pool(workers: Workers, job: Job) -> Iterator[RayPool]:
    """A pool on a cluster that is there, or on one of this machine that ends with it.

    Raises:
        Mistake: if Ray is not installed.
        RunFailure: if there is no cluster at the address, or none can be started here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        help = "pip install 'causaldsl[ray]'"
        raise Mistake("no-ray", f"`--on ray` needs Ray: {error}", help) from None
    with redirect_stdout(sys.stderr):  # Ray says on it which worker died, at its end too
        yield from _on(ray, workers, job)


def _on(ray: Any, workers: Workers, job: Job) -> Iterator[RayPool]:
    """A pool, on the cluster that is there or on a new one."""
    joined, folder, cpus = ray.is_initialized(), "", 1
    try:
        if not joined and workers.address:
            _join(ray, workers.address)
        elif not joined:
            cpus = max(1, (os.cpu_count() or 1) // workers.count)
            folder = tempfile.mkdtemp(prefix="causaldsl-ray-")
            _init(
                ray,
                num_cpus=cpus * workers.count,
                include_dashboard=False,
                object_store_memory=_STORE,
                _temp_dir=folder,
            )
        pool = RayPool(ray, workers, job, cpus)
        try:
            yield pool
        finally:
            pool.close()
    finally:
        if not joined:
            ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _init(ray: Any, **options: Any) -> None:
    """Start or join a cluster. What SIGTERM does, which Ray would change, stays as it is."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises what it likes
        reason = one_line(error, 300)
        if "address" in options:
            message = f"there is no Ray cluster at {options['address']}: {reason}"
            raise RunFailure(message, _NO_CLUSTER) from None
        raise RunFailure(f"Ray can't be started here: {reason}", _NO_START) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _join(ray: Any, address: str) -> None:
    try:
        host, colon, port = address.rpartition("//")[2].rpartition(":")
        if colon:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), _ANSWERS).close()
    except (OSError, ValueError) as error:
        raise RunFailure(f"there is no Ray cluster at {address}: {error}", _NO_CLUSTER) from None
    _init(ray, address=address)
