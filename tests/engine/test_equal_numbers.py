"""No number depends on memory, batches or threads beyond rounding, and no count or rank at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from causaldsl import api
from tests.engine.test_elsewhere import PROGRAMS
from tests.frontend.world import make_world

ALLOWED = 1e-6
"""Relative to the larger number, or to 1."""
DOUBLE = {"dtype": "float64"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("equal"))


def plain(program: str, world: Path, **choices: Any) -> dict[str, Any]:
    (world / "p.cpatch").write_text(PROGRAMS[program])
    made = api.run(world / "p.cpatch", **DOUBLE, **choices)
    found = made.results.model_dump()
    for said in ("provenance", "timings", "notes"):
        del found[said]
    found["by_pair"] = {
        f"{b.measure} {b.arm} {b.metric} {b.cell}": list(b.values) for b in made.by_pair
    }
    return found


def apart(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two results differ: numbers by more than is allowed, all else at all."""
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{at}: other entries"]
        return [line for k in one for line in apart(one[k], other[k], f"{at}.{k}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{at}: another length"]
        both = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in both for line in apart(a, b, f"{at}[{i}]")]
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one) and math.isnan(other):
            return []
        same = math.isclose(one, other, rel_tol=ALLOWED, abs_tol=ALLOWED)
        return [] if same else [f"{at}: {one} and {other}"]
    return [] if one == other else [f"{at}: {one} and {other}"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_number_depends_on_memory_batches_or_threads(
    program: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = plain(program, world)
    assert apart(usual, plain(program, world, memory=20_000)) == []
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert apart(usual, plain(program, world)) == []
    finally:
        torch.set_num_threads(before)
