"""Runs on a Ray cluster of this machine: `make test-cluster` installs Ray and runs this."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from causaldsl import api
from causaldsl.cluster import coordinate
from causaldsl.cluster.where import Workers
from causaldsl.diagnostics import RunFailure
from tests.cluster.same import apart
from tests.cluster.started import MARK, left
from tests.cluster.test_shards import ALL, world_of
from tests.engine.killed import PROGRAM

ENDLESS = PROGRAM.replace("epochs: 12", "epochs: 100000")
LONG = PROGRAM.replace("epochs: 12", "epochs: 1000") + (
    "subspace u = das(resid_post[1] @ END, on: flip.train, epochs: 1000)\n"
    "measure long on flip.test { a = patch resid_post[1] @ END along u  report fldd }\n"
)
ray = pytest.importorskip("ray", reason="Ray is not installed: make test-cluster")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world_of(
        tmp_path_factory.mktemp("ray"), {**ALL, "killed": PROGRAM, "endless": ENDLESS, "long": LONG}
    )


@pytest.mark.parametrize("count", [2, 4])
def test_workers_find_what_one_process_finds(
    count: int, world: Path, tmp_path: Path, cluster: None
) -> None:
    path, workers = world / "paths_and_audits.cpatch", Workers("ray", count)
    found = api.run(path, store=tmp_path, workers=workers, dtype="float64")
    assert list(apart(api.run(path, store="none", dtype="float64"), found, 1e-9)) == []
    assert found.reused[0] == 0
    assert ray.is_initialized()


def test_a_worker_that_hangs_is_replaced(
    world: Path, tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinate, "TRIES", 2)
    workers = Workers("ray", 1, patience=1e-6)
    with pytest.raises(RunFailure, match="nothing was heard of its worker for 1e-06 s"):
        api.run(world / "killed.cpatch", store=tmp_path, workers=workers)


def test_there_is_no_cluster(world: Path, tmp_path: Path) -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(RunFailure, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        api.run(world / "killed.cpatch", store=tmp_path, workers=Workers("ray:127.0.0.1:1"))


def started(program: Path, store: Path, kills: int, mark: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cluster.started", str(program)]
    command += [str(store), "ray", "2", str(kills)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", MARK: mark},
    )


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.soak)])
def test_workers_that_are_killed_cost_their_shards(kills: int, world: Path, tmp_path: Path) -> None:
    """Nothing is lost, and nothing made twice but the shard of a worker that was killed."""
    program = world / ("killed.cpatch" if kills == 2 else "long.cpatch")
    whole = api.run(program, store="none", dtype="float64")
    mark, lost, round_ = uuid.uuid4().hex, 0, 0
    while lost < kills:  # a run has time for a few
        process = started(program, tmp_path / f"store{round_}", kills - lost, mark)
        out, err = process.communicate()
        assert process.returncode == 0, err
        said: dict[str, Any] = json.loads(out)
        assert said["wrong"] == []
        for block, numbers in zip(whole.by_pair, said["numbers"], strict=True):
            found = np.frombuffer(bytes.fromhex(numbers))
            assert np.allclose(block.values, found, 1e-9, 1e-9, equal_nan=True)
        assert said["lost"] <= said["killed"] > 0  # one that was killed may have been free
        print(f"{said['killed']} workers killed, {said['lost']} losses of {said['shards']} shards")
        lost, round_ = lost + said["lost"], round_ + 1
    assert gone(mark)


def test_ctrl_c_leaves_no_process_behind(world: Path, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    process = started(world / "endless.cpatch", tmp_path, 0, mark)
    try:
        assert process.stderr is not None
        said = list(takewhile(lambda line: "training v" not in line, process.stderr))
        assert process.poll() is None, "".join(said)  # it ended before a worker was at it
        there = left(mark)
        assert sum("Telling" in name for name in there) == 2, there
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of the group
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT
    assert gone(mark)


def gone(mark: str) -> bool:
    """Whether all processes with a mark have ended, a while later."""
    for _ in range(100):
        if not left(mark):
            return True
        time.sleep(0.2)
    return False
