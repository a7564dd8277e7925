"""No number depends on memory, batches or threads beyond rounding, and no count or rank at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from causaldsl import api
from causaldsl.engine import here, metrics, outcomes
from causaldsl.engine import open as opened
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.plan import chunks
from tests.engine.test_elsewhere import PROGRAMS
from tests.frontend.world import make_world

ALLOWED = {"float64": 1e-9, "float32": 5e-3}
"""By dtype, relative to the larger number, or to 1. Trainings carry rounding on, shares of small
means magnify it. What is counted, ranked or told in words is the same in both."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("equal"))


def plain(program: str, world: Path, **choices: Any) -> dict[str, Any]:
    (world / "p.cpatch").write_text(PROGRAMS[program])
    made = api.run(world / "p.cpatch", **choices)
    found = made.results.model_dump()
    for said in ("provenance", "timings", "notes"):
        del found[said]
    found["by_pair"] = {
        f"{b.measure} {b.arm} {b.metric} {b.cell}": list(b.values) for b in made.by_pair
    }
    return found


def apart(one: Any, other: Any, allowed: float, at: str = "") -> list[str]:
    """Where two results differ: numbers by more than is allowed, all else at all."""
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{at}: other entries"]
        return [line for k in one for line in apart(one[k], other[k], allowed, f"{at}.{k}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{at}: another length"]
        both = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in both for line in apart(a, b, allowed, f"{at}[{i}]")]
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one) and math.isnan(other):
            return []
        same = math.isclose(one, other, rel_tol=allowed, abs_tol=allowed)
        return [] if same else [f"{at}: {one} and {other}"]
    return [] if one == other else [f"{at}: {one} and {other}"]


@pytest.mark.parametrize("k", [1, 2, 7])
def test_a_basis_moves_no_more_than_its_vectors(k: int) -> None:
    normal = torch.randn(40, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vectors = torch.linalg.qr(normal).Q
    moved = vectors + 1e-8 * normal
    assert torch.allclose(SubspaceValue(vectors).basis, vectors, rtol=0, atol=1e-14)
    assert torch.allclose(SubspaceValue(moved).basis, vectors, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 3), (4, 4), (3, 5), (5, 0)])
@pytest.mark.parametrize("repeated", [False, True])
def test_a_basis_is_orthonormal_and_spans_the_vectors(
    shape: tuple[int, int], repeated: bool
) -> None:
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vectors = torch.cat([vectors, -2 * vectors], 1) if repeated else vectors
    basis = SubspaceValue(vectors).basis
    rank = min(shape)
    assert basis.shape == (shape[0], rank)
    assert torch.allclose(basis.T @ basis, torch.eye(rank, dtype=torch.float64))
    assert torch.allclose(basis @ (basis.T @ vectors), vectors)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "program", ["paths_and_audits", pytest.param("everything", marks=pytest.mark.soak)]
)
def test_no_number_depends_on_memory_batches_or_threads(
    program: str, dtype: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = ALLOWED[dtype]
    usual = plain(program, world, dtype=dtype)
    assert apart(usual, plain(program, world, dtype=dtype, memory=20_000), allowed) == []
    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "VOCABULARY_ROWS", 4)
        patch.setattr(metrics, "DOUBLE_ROWS", 3)
        patch.setattr(here, "GRADIENT_ROWS", 3)
        patch.setattr(opened, "CONE_TOKENS", 40)
        patch.setattr(chunks.chunked, "__defaults__", (20,))
        assert apart(usual, plain(program, world, dtype=dtype), allowed) == []
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert apart(usual, plain(program, world, dtype=dtype), allowed) == []
    finally:
        torch.set_num_threads(before)
