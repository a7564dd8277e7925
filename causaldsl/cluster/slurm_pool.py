"""Workers as Slurm jobs, by submitit: the shards that can be made are spread over an array of jobs.

A job reads the model once and makes its shards one after the other, into the store, which lies on a
disk that all machines share. One that was preempted is submitted again, and goes on with the shard
that it was at. Of one that ended without a word that shard is lost, and the others wait again.
"""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causaldsl.cluster.shards import Shard
from causaldsl.cluster.where import LOCAL, Workers
from causaldsl.cluster.worker import Ended, Job, Worker
from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.shown import one_line
from causaldsl.user_cache import write_atomically

_ENDS = 30
"""Seconds in which a process of this machine ends that is told to."""
_WAIT = 0.2
"""Seconds between two looks at the jobs."""


Made = Sequence[tuple[Path, Shard]]
"""Shards of one job, in their order; what came of each goes to a file."""


@dataclass(frozen=True)
class Make:
    """What a job does, in a process of its own."""

    job: Job

    def __call__(self, made: Made) -> list[Ended]:
        """How its shards ended, up to the first that did not end well."""
        worker, ends = Worker(self.job), ended(made)
        try:
            for path, shard in made[len(ends) :]:
                ends.append(worker.make(shard))
                if ends[-1].lost or ends[-1].failure:
                    break
                write_atomically(path, pickle.dumps(ends[-1]))
        finally:
            worker.close()
        return ends

    def checkpoint(self, made: Made) -> Any:
        """What submitit puts into the queue when Slurm takes the machine away."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, made)


def ended(made: Made) -> list[Ended]:
    """How those of a job's shards ended that it has finished."""
    found: list[Ended] = []
    with suppress(FileNotFoundError):
        for path, _ in made:
            found.append(pickle.loads(path.read_bytes()))
    return found


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
        self.jobs: dict[Any, Made] = {}
        self.given = 0

    def give(self, shards: Sequence[Shard]) -> None:
        """Submit as many jobs as there is room for; each takes its part of what waits."""
        self.queue += shards
        count, busy = self.workers.count, len(self.jobs)
        parts = [part for i in range(count) if (part := self.queue[i::count])]
        now, later = parts[: count - busy], parts[count - busy :]
        self.queue = [shard for part in later for shard in part]
        if now:
            named = [[(self._file(), shard) for shard in part] for part in now]
            self.jobs |= zip(self.executor.map_array(Make(self.job), named), named, strict=True)

    def _file(self) -> Path:
        self.given += 1
        return self.folder / f"shard{self.given}.pkl"

    def ended(self) -> list[Ended]:
        time.sleep(_WAIT)
        done = [job for job in self.jobs if job.done()]
        found = [end for job in done for end in self._end(job, self.jobs.pop(job))]
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

    def _end(self, job: Any, made: Made) -> list[Ended]:
        """How a job's shards ended; those that it did not come to wait again."""
        try:
            ends: list[Ended] = job.result()
        except Exception as error:  # submitit raises what it likes
            ends = ended(made)
            lost = f"its job ended: {one_line(error, 500)}"
            ends += [Ended(shard, lost=lost) for _, shard in made[len(ends) :][:1]]
        self.queue[:0] = [shard for _, shard in made[len(ends) :]]
        return ends


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
