"""Workers as Slurm jobs, by submitit: the shards that can be made are the jobs of an array.

A job makes one shard into the store, which lies on a disk that all machines share. One that was
preempted, or that ended without a word, is submitted again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from causaldsl.cluster.shards import Shard
from causaldsl.cluster.where import LOCAL, Workers
from causaldsl.cluster.worker import Ended, Job, Worker
from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.shown import one_line

_ENDS = 30
"""Seconds in which a process of this machine ends that is told to."""
_WAIT = 0.2
"""Seconds between two looks at the jobs."""


@dataclass(frozen=True)
class Make:
    """What a job does, in a process of its own."""

    job: Job

    def __call__(self, shard: Shard) -> Ended:
        worker = Worker(self.job)
        try:
            return worker.make(shard)
        finally:
            worker.close()

    def checkpoint(self, shard: Shard) -> Any:
        """What submitit puts into the queue when Slurm takes the machine away."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, shard)


class SlurmPool:
    """Jobs that are waited for."""

    def __init__(self, submitit: Any, workers: Workers, job: Job):
        self.submitit, self.workers, self.job = submitit, workers, job
        self.folder = job.store / "jobs" / job.beacon.removeprefix(".")
        self.local = workers.address == LOCAL
        try:
            self.executor = submitit.AutoExecutor(self.folder, "local" if self.local else "slurm")
        except RuntimeError as error:
            help = "run this where `sbatch` works; `--on slurm:local` tries it without Slurm"
            raise RunFailure(f"there is no Slurm here: {error}", help) from None
        given = {} if workers.partition is None else {"slurm_partition": workers.partition}
        self.executor.update_parameters(
            name="causaldsl",
            timeout_min=workers.minutes,
            gpus_per_node=int(workers.gpus),
            slurm_array_parallelism=workers.count,
            **given,
        )
        self.queue: list[Shard] = []
        self.jobs: dict[Any, Shard] = {}

    def give(self, shards: Sequence[Shard]) -> None:
        self.queue += shards
        # Slurm itself sees to it that not too many of an array run at once.
        room = self.workers.count - len(self.jobs) if self.local else len(self.queue)
        now, self.queue = self.queue[:room], self.queue[room:]
        if now:
            made = self.executor.map_array(Make(self.job), now)
            self.jobs |= zip(made, now, strict=True)

    def ended(self) -> list[Ended]:
        time.sleep(_WAIT)
        done = [job for job in self.jobs if job.done()]
        found = [self._end(job, self.jobs.pop(job)) for job in done]
        self.give([])
        return found

    @property
    def doing(self) -> str:
        states = [job.state.lower() for job in self.jobs]
        return ", ".join(f"{states.count(s)} {s}" for s in sorted(set(states))) or "starting"

    def close(self) -> None:
        for job in self.jobs:
            with suppress(Exception):  # it has ended by itself
                job.cancel()
        for job in self.jobs if self.local else ():
            with suppress(Exception):
                job._process.wait(_ENDS)

    def _end(self, job: Any, shard: Shard) -> Ended:
        try:
            end: Ended = job.result()
        except Exception as error:  # submitit raises what it likes
            return Ended(shard, lost=f"its job ended: {one_line(error, 500)}")
        return end


@contextmanager
def slurm_pool(workers: Workers, job: Job) -> Iterator[SlurmPool]:
    """A pool of jobs, which are cancelled if the block ends before they do.

    Raises:
        Mistake: if submitit is not installed.
        RunFailure: if there is no Slurm.
    """
    try:
        import submitit
    except ImportError as error:
        help = "pip install 'causaldsl[slurm]'"
        raise Mistake("no-submitit", f"`--on slurm` needs submitit: {error}", help) from None
    pool = SlurmPool(submitit, workers, job)
    try:
        yield pool
    finally:
        pool.close()
        shutil.rmtree(pool.folder, ignore_errors=True)
