"""Prompts of different lengths in one run give what each gives alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from causaldsl.diagnostics import Mistake
from causaldsl.engine.backend import CleanPass, activations_of, logits_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.model.sites import Site
from causaldsl.plan.freeze import Freeze
from tests.engine.conftest import Parties

LENGTHS = torch.tensor([7, 4, 6, 4, 2])
WHERE = {
    "end": [[-1]] * 5,
    "near the end": [[-2, -1]] * 5,
    "at the start": [[0]] * 5,
    "anywhere": [[3], [0], [5], [1], [1]],
}
KINDS = ["embed", "resid_post", "resid_mid", "mlp_hidden", "mlp_out", "attn_out"]


@pytest.fixture(scope="module")
def prompts(trio: Parties) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(trio.shapes.d_vocab, (5, 7), generator=generator)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("freeze", [None, Freeze(attention=True), Freeze(mlp=True, norms=True)])
def test_together_and_alone(
    trio: Parties, prompts: Tensor, kind: str, where: str, freeze: Freeze | None
) -> None:
    backend = trio.backends.get("cone")
    if backend is None:
        pytest.skip("the cone does not serve this family")
    site = Site(kind) if kind == "embed" else Site(kind, 1)
    if not backend.serves(site):
        with pytest.raises(Mistake):
            site.check(trio.shapes)  # resid_mid of a parallel block
        return
    positions = torch.tensor(WHERE[where])
    positions = torch.where(positions < 0, LENGTHS[:, None] + positions, positions)
    value = torch.randn(
        5,
        positions.shape[1],
        site.width(trio.shapes) or 0,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(6),
    )
    later = Read(Site("resid_post", 2), LENGTHS[:, None] - 1)
    reads = [Read(site, positions), later]
    together = backend.clean(CleanPass(prompts, reads[:1], reads, LENGTHS, frozen=True))
    edit = Edit(site, positions, value)
    logits = logits_of(backend, together, [edit], hold=freeze)
    (seen,) = activations_of(backend, together, [edit], [later], hold=freeze)
    some = torch.tensor([3, 0, 4])
    few = logits_of(backend, together, [edit.take(some)], rows=some, hold=freeze)
    assert (few - logits[some]).abs().max() < 1e-9
    for row, length in enumerate(LENGTHS.tolist()):
        mine = slice(row, row + 1)
        cut = [Read(read.site, read.positions[mine]) for read in reads]
        alone = backend.clean(CleanPass(prompts[mine, :length], cut[:1], cut, frozen=True))
        wanted = logits_of(backend, alone, [edit.take(mine)], hold=freeze)
        assert (wanted - logits[mine]).abs().max() < 1e-9
        (state,) = activations_of(backend, alone, [edit.take(mine)], cut[1:], hold=freeze)
        assert (state - seen[mine]).abs().max() < 1e-9
        assert (alone.read(cut[0]) - together.read(reads[0])[mine]).abs().max() < 1e-9
        assert (logits_of(backend, alone) - logits_of(backend, together)[mine]).abs().max() < 1e-9
        if freeze is None or not freeze.attention or "end" in where:  # else it can't get there
            assert (wanted - logits_of(backend, alone)).abs().max() > 1e-6
