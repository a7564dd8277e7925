"""Runs as jobs of submitit's local executor: `make test-cluster` installs it and runs this."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from causaldsl import api
from causaldsl.cluster.shards import Shard
from causaldsl.cluster.slurm_pool import SlurmPool
from causaldsl.cluster.where import Workers
from causaldsl.diagnostics import RunFailure
from tests.cluster.same import apart
from tests.cluster.started import MARK, left
from tests.cluster.test_shards import world_of

pytest.importorskip("submitit", reason="submitit is not installed: make test-cluster")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world_of(tmp_path_factory.mktemp("slurm"))


def test_jobs_find_what_one_process_finds_though_they_are_preempted_and_killed(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first job is told that it is preempted, the second one is killed."""
    jobs: list[Any] = []
    before = SlurmPool.give

    def give(pool: SlurmPool, shards: Sequence[Shard]) -> None:
        before(pool, shards)
        known = [job.job_id for job in jobs]
        for job in (job for job in pool.jobs if job.job_id not in known):
            jobs.append(job)
            job._results_timeout_s = 1  # how long a result is waited for that is not there

    waits = SlurmPool.ended

    def ended(pool: SlurmPool) -> Any:
        for job, stop in zip(jobs[:2], ("_interrupt", "kill"), strict=False):
            ready = job.paths.stdout.is_file() and "Starting" in job.paths.stdout.read_text()
            if ready and not hasattr(job, "stopped"):
                job.stopped = stop
                job._interrupt() if stop == "_interrupt" else job._process.kill()
        return waits(pool)

    monkeypatch.setattr(SlurmPool, "give", give)
    monkeypatch.setattr(SlurmPool, "ended", ended)
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    path, workers = world / "arms.cpatch", Workers("slurm:local", 3)
    found = api.run(path, store=tmp_path, workers=workers, dtype="float64")
    assert list(apart(api.run(path, store="none", dtype="float64"), found, 1e-9)) == []
    assert [getattr(job, "stopped", "") for job in jobs[:2]] == ["_interrupt", "kill"]
    for _ in range(100):
        if not left(mark):
            break
        time.sleep(0.2)
    assert left(mark) == []
    assert not list((tmp_path / "jobs").iterdir())


def test_without_slurm_it_says_so(world: Path, tmp_path: Path) -> None:
    if any((Path(place) / "sbatch").exists() for place in os.environ["PATH"].split(":")):
        pytest.skip("there is Slurm here")
    with pytest.raises(RunFailure, match="no Slurm here") as caught:
        api.run(world / "arms.cpatch", store=tmp_path, workers=Workers("slurm", 2))
    assert "slurm:local" in str(caught.value.help)
