"""Boundless DAS: a planted dimension is found, gates are what the formula says, bits are stable."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from causaldsl.diagnostics import ProgramError
from causaldsl.engine.bases import DasOptions, found_basis, trained_basis
from causaldsl.engine.das import Learner, fit_together
from tests.engine.test_interpret import check, run
from tests.frontend.world import PRELUDE, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("boundless"))


def test_the_patch_is_along_gated_columns() -> None:
    options = DasOptions(dim=5, epochs=4, boundless=True)
    generator = torch.Generator().manual_seed(1)
    free = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    free[-1, 0] = 0.37
    q = torch.linalg.qr(free[:-1]).Q
    for epoch, temperature in ((0, 1.0), (1, 0.1 ** (1 / 3)), (3, 0.1)):
        columns = torch.tensor([0.5, 1.5, 2.5, 3.5, 4.5], dtype=torch.float64)
        gates = torch.sigmoid((0.37 * 5 - columns) / temperature)
        basis = trained_basis(options, free, epoch)
        assert torch.allclose(basis @ basis.T, q @ torch.diag(gates) @ q.T, atol=1e-12)
    assert torch.equal(found_basis(options, free), q[:, :2])


@pytest.mark.parametrize("planted", [1, 3, 6])
def test_a_planted_dimension_is_found(planted: int) -> None:
    """The loss is what of some directions is not in the subspace: each is worth its cost."""
    generator = torch.Generator().manual_seed(planted)
    wanted = torch.linalg.qr(torch.randn(12, planted, generator=generator).double()).Q

    def losses(step: list[tuple[int, Tensor, Tensor]]) -> Tensor:
        return torch.stack([planted - (basis.T @ wanted).square().sum() for _, basis, _ in step])

    options = DasOptions(dim=10, lr=0.05, epochs=60, decay="none", boundless=True, cost=2.0)
    learner = Learner(12, options, lambda epoch: [torch.zeros(1)] * 10)
    (fit,) = fit_together([learner], losses, dtype=torch.float64)  # type: ignore[arg-type]
    assert fit.basis.shape == (12, planted)
    assert torch.allclose(fit.basis.T @ fit.basis, torch.eye(planted).double(), atol=1e-9)
    assert float((fit.basis.T @ wanted).square().sum()) > 0.98 * planted


LEARNED = (
    PRELUDE
    + """
site x = resid_post[2] @ END
subspace v = das(x, on: flip.train, dim: learned, most: 8, cost: COST, epochs: 12, lr: 0.05)
measure m on flip.test { along = patch x along v  report logit_diff }
"""
)


def test_it_learns_through_the_patch_on_both_backends(world: Path) -> None:
    found = {}
    for backend, cost in (("cone", 1), ("hooks", 1), ("cone", 100)):
        _, session = run(LEARNED.replace("COST", str(cost)), world, backend=backend)
        found[backend, cost] = session.values[session.graph.key_of("v")].vectors
    cone, hooks, dear = found.values()
    assert 1 <= cone.shape[1] <= 8
    assert torch.allclose(cone, hooks, atol=1e-5)
    assert dear.shape[1] == 1  # where a column costs more than any can bring, one is left


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("dim: lerned", "bad-option"),
        ("dim: learned, most: 99", "rank-too-large"),
        ("dim: 2, most: 4", "bad-option"),
        ("dim: learned, most: 4, neurons: 3", "rank-too-large"),
        ("dim: learned, cost: -1", "bad-option"),
    ],
)
def test_refused(options: str, code: str, world: Path) -> None:
    text = PRELUDE + f"subspace v = das(resid_post[2] @ END, on: flip.train, {options})\n"
    with pytest.raises(ProgramError) as caught:
        check(text, world)
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert problem.help
