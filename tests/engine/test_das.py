"""Learning a subspace: the parametrisation, the loss, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.adam import Adam
from causaldsl.engine.backend import CleanPass, Losses, Pass
from causaldsl.engine.bases import DasOptions, orthonormal, start
from causaldsl.engine.cone.linear import Linear
from causaldsl.engine.cone.loss import cross_entropy
from causaldsl.engine.cone.packing import Packing, available
from causaldsl.engine.cone.weights import Unembedding
from causaldsl.engine.das import DasFit, Learner, fit_together
from causaldsl.engine.edits import Edit, Read
from causaldsl.model.sites import Site
from tests.engine.conftest import LENGTH, Parties


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_basis_is_orthonormal_and_differentiable(dim: int) -> None:
    free = torch.randn(7, dim, dtype=torch.float64, requires_grad=True)
    basis = orthonormal(free)
    assert torch.allclose(basis.T @ basis, torch.eye(dim, dtype=torch.float64))
    projection = free @ torch.linalg.pinv(free)
    assert torch.allclose(basis @ basis.T, projection)
    assert torch.autograd.gradcheck(lambda m: orthonormal(m) @ orthonormal(m).T, (free,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_takes_torchs_steps_to_the_bit(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(30, 2, generator=generator, dtype=dtype).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    adam, reference = Adam(ours), torch.optim.Adam([theirs])
    for step in range(3000):
        lr = 0.1 / (step + 1)
        gradient = torch.randn(30, 2, generator=generator, dtype=dtype) * 10.0 ** (step % 5 - 3)
        adam.step(gradient, lr)
        reference.param_groups[0]["lr"], theirs.grad = lr, gradient
        reference.step()
        assert torch.equal(ours, theirs)


def fit(
    width: int,
    options: DasOptions,
    batches: Callable[[int], Iterable[Any]],
    loss: Callable[[Tensor, Any], Tensor],
    dtype: torch.dtype = torch.float32,
) -> DasFit:
    """One basis (width, dim), trained by itself to lower ``loss(basis, batch)``."""

    def losses(step: Sequence[tuple[int, Tensor, Any]]) -> Tensor:
        return torch.stack([loss(basis, batch) for _, basis, batch in step])

    (found,) = fit_together([Learner(width, options, batches)], losses, dtype=dtype)
    return found


def planted(width: int, dim: int) -> Tensor:
    return start(width, dim, seed=99).float()


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_finds_a_planted_subspace(dim: int, decay: str) -> None:
    goal = planted(30, dim)
    options = DasOptions(dim=dim, lr=0.05, epochs=40, decay=decay)  # type: ignore[arg-type]

    def loss(basis: Tensor, batch: int) -> Tensor:
        return dim - (goal.T @ basis).square().sum()

    found = fit(30, options, lambda epoch: range(5), loss)
    assert found.basis.shape == (30, dim)
    assert torch.allclose(found.basis.T @ found.basis, torch.eye(dim), atol=1e-5)
    assert torch.linalg.svdvals(goal.T @ found.basis).min() > 0.999
    assert len(found.losses) == 40
    assert found.losses[-1] < 0.01 < found.losses[0]


def test_depends_on_the_seed_alone() -> None:
    goal = planted(12, 2)

    def loss(basis: Tensor, batch: Tensor) -> Tensor:
        return -(goal.T @ basis).square().sum() + 0.0 * batch.sum()

    def train(seed: int) -> Tensor:
        options = DasOptions(dim=2, epochs=2, seed=seed)
        return fit(12, options, lambda epoch: torch.arange(6.0).split(2), loss).basis

    torch.manual_seed(1)
    first = train(0)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, train(0))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.allclose(first, train(1))


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("rows", [4, 131])
@pytest.mark.parametrize("ways", [{}, {"scale": 2.0, "softcap": 3.0}], ids=["plain", "capped"])
def test_cross_entropy(ways: dict[str, float], scale: float, rows: int) -> None:
    """The value and gradient of PyTorch's, also where the target's probability is zero."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    head = Unembedding(Linear(weight), **ways)
    x = scale * torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    targets = torch.arange(rows) % 9
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    losses = cross_entropy(mine, targets, head)
    wanted = F.cross_entropy(capped(theirs @ weight.T, **ways), targets, reduction="none")
    assert torch.allclose(losses, wanted)
    weights = torch.arange(float(rows), dtype=torch.float64)
    (weights * losses).sum().backward()
    (weights * wanted).sum().backward()
    assert mine.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(mine.grad, theirs.grad)


def capped(logits: Tensor, scale: float = 1.0, softcap: float | None = None) -> Tensor:
    logits = logits * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def test_cross_entropy_of_capped_logits_in_half_precision() -> None:
    """As far from what float32 gives as rounding takes it."""
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(n, 5, generator=generator).bfloat16() for n in (9, 6))
    gradients = []
    for dtype in (torch.bfloat16, torch.float32):
        own = x.to(dtype).requires_grad_()
        losses = cross_entropy(
            own, torch.arange(6), Unembedding(Linear(weight.to(dtype)), 2.0, 3.0)
        )
        gradients += torch.autograd.grad(losses.sum(), own)
    half, single = gradients
    assert single.abs().max() > 0.1
    assert torch.allclose(half.float(), single, atol=0.02 * float(single.abs().max()))


@pytest.mark.skipif(not available(torch.zeros(1)), reason="this build of torch has no MKL")
def test_rearranged_matrices_give_the_same_numbers() -> None:
    """For the number of rows they were laid out for, and for any other."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(40, 30, generator=generator), torch.randn(40, generator=generator)
    plain, packed, packing = Linear(weight, bias), Linear(weight, bias), Packing()
    packed.pack(packing)
    for shape in ((2, 3, 30), (6, 30), (5, 30)):
        x = torch.randn(shape, generator=generator)
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        assert torch.allclose(packed(mine), plain(theirs), atol=1e-5)
        packed(mine).square().sum().backward()
        plain(theirs).square().sum().backward()
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-4)
    assert packing.bytes == 2 * weight.nbytes
    assert packed._packed is not None
    assert packed._packed.rows == 6


def test_learners_side_by_side_are_as_each_alone() -> None:
    """With starts, rates, decays and numbers of steps of their own."""
    targets = torch.randn(3, 7, dtype=torch.float64)

    def loss(basis: Tensor, batch: Tensor) -> Tensor:
        return -(targets[:, batch] * basis[batch].sum(1)).sum()

    choices = [
        (DasOptions(dim=1, epochs=3, seed=1), 7),
        (DasOptions(dim=2, epochs=3, seed=2, lr=0.1, decay="none"), 4),
        (DasOptions(dim=3, epochs=3, seed=3, decay="cosine"), 2),
    ]
    learners = [
        Learner(7, options, lambda epoch, size=size: torch.arange(7).split(size))
        for options, size in choices
    ]

    def losses(step: Sequence[tuple[int, Tensor, Tensor]]) -> Tensor:
        return torch.stack([loss(basis, batch) for _, basis, batch in step])

    together = fit_together(learners, losses, dtype=torch.float64)
    for (options, size), found in zip(choices, together, strict=True):
        alone = fit(
            7,
            options,
            lambda epoch, size=size: torch.arange(7).split(size),
            loss,
            dtype=torch.float64,
        )
        assert torch.allclose(found.basis, alone.basis, atol=1e-12)
        assert found.losses == pytest.approx(alone.losses, abs=1e-12)


def test_refusals() -> None:
    options = DasOptions(epochs=1)

    def square(basis: Tensor, batch: int) -> Tensor:
        return basis.square().sum()

    with pytest.raises(RunFailure, match="does not depend"):
        fit(4, options, lambda epoch: [0], lambda basis, batch: torch.ones(()))
    with pytest.raises(RunFailure, match="not a finite number"):
        fit(4, options, lambda epoch: [0], lambda basis, batch: basis.sum() * torch.nan)
    with pytest.raises(RunFailure, match="no pairs"):
        fit(4, options, lambda epoch: [], square)
    for dim in (0, 5):
        with pytest.raises(RunFailure, match="dimensions of a space of 4"):
            fit(4, replace(options, dim=dim), lambda epoch: [0], square)


def test_through_a_patch(llama: Parties) -> None:
    """Trained on the cone it lowers the loss; on the hooks backend it takes the same way."""
    site = Site("mlp_hidden", 2)
    at = Read(site, torch.full((3, 1), LENGTH - 1))
    targets = torch.tensor([5, 6, 7])
    width = site.width(llama.shapes)
    assert width is not None
    curves = []
    for backend in llama.backends.values():
        value = backend.clean(CleanPass(llama.source, reads=[at])).read(at)
        clean = backend.clean(CleanPass(llama.base, edits_at=[at]))

        def loss(basis: Tensor, batch: None, backend=backend, clean=clean, value=value) -> Tensor:
            edits = [Edit(site, at.positions, value, basis)]
            return backend.run(Pass(clean, [edits], Losses(targets))).mean()

        options = DasOptions(dim=2, lr=0.05, epochs=8)
        found = fit(width, options, lambda epoch: [None] * 3, loss, dtype=torch.float64)
        curves.append(torch.tensor(found.losses))
    assert curves[0][-1] < curves[0][0] - 0.1
    assert torch.allclose(curves[0], curves[1], atol=1e-6)
