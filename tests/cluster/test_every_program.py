"""Every shipped program, made small, by one process and by workers: the results are the same.

Numbers to 1e-5 in the precision that the program says, verdicts and all other words exactly.
Programs are found in the folder, so a new one is tested too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.cluster.where import Workers
from causaldsl.content_store import ContentStore
from causaldsl.graph.compiler import compile_program
from causaldsl.plan.settings import Settings
from tests.cluster.same import apart
from tests.engine.test_every_program import NAMES, checked, deep  # noqa: F401

pytestmark = pytest.mark.soak


def check_same(path: Path, workers: Workers, store: Path) -> None:
    program = checked(path, path.parent / "deep")
    compiled = api.Compiled(program, compile_program(program))
    settings = Settings(resamples=200).of_program(program.model, None)
    whole = api.run_compiled(compiled, settings)
    found = api.run_compiled(compiled, settings, store=ContentStore(store), workers=workers)
    assert found.reused[0] == 0
    assert list(apart(whole, found, 1e-5)) == []


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_on_ray(name: str, count: int, deep: Path, tmp_path: Path, cluster: None) -> None:  # noqa: F811
    check_same(deep / name, Workers("ray", count), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_on_jobs(name: str, deep: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("submitit", reason="submitit is not installed: make test-cluster")
    check_same(deep / name, Workers("slurm:local", 3), tmp_path)
