"""How shards are spread over Slurm's jobs, and what is lost with one: with jobs of this process."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from causaldsl.cluster import slurm_pool
from causaldsl.cluster.shards import Shard
from causaldsl.cluster.slurm_pool import Make, SlurmPool
from causaldsl.cluster.where import Workers
from causaldsl.cluster.worker import Ended

made: Counter[str] = Counter()
"""How often each shard was made to its end."""
dies: list[str] = []
"""Shards at which a job ends without a word, once each."""
bad: list[str] = []
"""Shards that a worker says are lost, once each."""


class Maker:
    """Stands for a worker."""

    def __init__(self, job: Any):
        self.job = job

    def make(self, shard: Shard) -> Ended:
        if shard.what in dies:
            dies.remove(shard.what)
            raise SystemExit
        if shard.what in bad:
            bad.remove(shard.what)
            return Ended(shard, lost="no room")
        made[shard.what] += 1
        return Ended(shard, notes=(shard.what,))

    def close(self) -> None:
        pass


@dataclass(eq=False)
class Done:
    """A job of submitit that runs when it is asked for what came of it."""

    make: Make
    given: Any

    def done(self) -> bool:
        return True

    def result(self) -> list[Ended]:
        try:
            return pickle.loads(pickle.dumps(self.make))(self.given)
        except SystemExit:
            raise RuntimeError("it has not produced any output") from None


@dataclass
class Executor:
    folder: Path
    where: str
    arrays: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)

    def update_parameters(self, **given: Any) -> None:
        assert given["slurm_array_parallelism"] == 3

    def map_array(self, make: Make, parts: Sequence[Any]) -> list[Done]:
        self.arrays.append([[shard.what for _, shard in part] for part in parts])
        return [Done(make, part) for part in parts]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmPool:
    monkeypatch.setattr(slurm_pool, "Worker", Maker)
    monkeypatch.setattr(slurm_pool, "_WAIT", 0)
    made.clear()
    job = SimpleNamespace(store=tmp_path, beacon=".here")
    submitit = SimpleNamespace(AutoExecutor=Executor)
    return SlurmPool(submitit, Workers("slurm:local", 3), job)  # type: ignore[arg-type]


def shards(count: int) -> list[Shard]:
    return [Shard((f"k{i}",), frozenset(), f"{i}") for i in range(count)]


def finish(pool: SlurmPool) -> tuple[list[str], list[str]]:
    """All that ended well, and all that was lost and given again."""
    well: list[str] = []
    lost: list[str] = []
    while pool.jobs:
        for end in pool.ended():
            (lost if end.lost else well).append(end.shard.what)
            if end.lost:
                pool.give([end.shard])
    return well, lost


def test_shards_are_spread_over_as_many_jobs_as_there_are_workers(pool: SlurmPool) -> None:
    pool.give(shards(7))
    assert pool.executor.arrays == [[["0", "3", "6"], ["1", "4"], ["2", "5"]]]
    pool.give(shards(9)[7:])  # wait for a job to end
    assert finish(pool) == ([*"0361425", *"78"], [])
    assert pool.executor.arrays[1:] == [[["7"], ["8"]]]
    assert set(made.values()) == {1}


def test_a_job_that_dies_costs_the_shard_that_it_was_at(pool: SlurmPool) -> None:
    dies.append("3")
    pool.give(shards(7))
    well, lost = finish(pool)
    assert sorted(well) == [*"0123456"]
    assert lost == ["3"]
    assert made == Counter("0123456")  # 0 was finished before, and 6 had not begun
    assert dies == []


def test_what_a_worker_can_not_make_goes_to_another_job(pool: SlurmPool) -> None:
    bad.append("0")
    pool.give(shards(4))
    assert finish(pool) == ([*"1230"], ["0"])
    assert made == Counter("0123")


def test_a_job_that_is_preempted_goes_on_where_it_was(pool: SlurmPool) -> None:
    dies.append("3")
    pool.give(shards(7))
    job = next(iter(pool.jobs))
    with pytest.raises(RuntimeError, match="no"):
        job.result()
    assert [end.notes for end in job.result()] == [("0",), ("3",), ("6",)]
    assert made == Counter("036")
