"""What must hold in every family whatever the weights are, on both backends, on all logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.engine.backend import CleanPass, logits_of
from causaldsl.engine.edits import Edit, Freeze, Read
from causaldsl.engine.open import Backends
from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import resolve
from causaldsl.model.sites import Site
from tests.families import matrix, oracle
from tests.families.arms import At
from tests.families.bench import CLOSE
from tests.families.models import FAMILIES, LAYERS, WINDOW, family_folder

LENGTH = 2 * WINDOW + 1
END = torch.full((2, 1), LENGTH - 1)


class Subject:
    """A model in a folder: the oracle's, and the backends that serve it, in a dtype."""

    def __init__(self, folder: Any, dtype: str):
        spec = resolve(folder.name, folder.parent)
        loaded = load(spec, dtype=dtype)
        self.shapes, self.dtype, notes = spec.shapes, getattr(torch, dtype), []
        made = Backends(loaded, notes, "cone")
        self.backends = {
            name: made[name] for name in ("hooks", "cone") if name != "cone" or name in made
        }
        self.model = oracle.load(folder, self.dtype)
        generator = torch.Generator().manual_seed(1)
        self.base, self.source = torch.randint(
            2, self.shapes.d_vocab, (2, 2, LENGTH), generator=generator
        )

    def value(self, at: At, positions: Tensor) -> Tensor:
        (x,) = oracle.read(self.model, self.source, [at.place])
        return oracle.gather(x, positions)

    def edit(
        self, at: At, positions: Tensor = END, value: Tensor | None = None, basis: Any = None
    ) -> Edit:
        value = self.value(at, positions) if value is None else value
        return Edit(Site(at.kind, at.layer, at.head), positions, value, basis)

    def logits(
        self, backend: str, edits: Sequence[Edit] = (), hold: Freeze | None = None
    ) -> Tensor:
        runs = self.backends[backend]
        places = [Read(edit.site, edit.positions) for edit in edits]
        clean = runs.clean(CleanPass(self.base, edits_at=places, frozen=hold is not None))
        return logits_of(runs, clean, edits, hold=hold)


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(family_folder(tmp_path_factory.mktemp(request.param), request.param), "float64")


def far(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))


def test_patching_what_a_head_adds_is_patching_its_z(subject: Subject) -> None:
    for name in subject.backends:
        clean = subject.logits(name)
        for layer in range(LAYERS):
            z, out = (
                subject.logits(name, [subject.edit(At(k, layer, 2))])
                for k in ("head.z", "head.out")
            )
            assert far(z, out) < CLOSE, (name, layer)
            assert far(z, clean) > 1e-7


def test_direct_effects_add_up(subject: Subject) -> None:
    """Of all heads, MLPs and the embedding; of logits before a cap, which is no norm."""
    senders = [At("head.z", layer, head) for layer in range(LAYERS) for head in range(4)]
    senders += [At("mlp_out", layer) for layer in range(LAYERS)] + [At("embed")]
    edits = [subject.edit(at) for at in senders]
    hold = Freeze(attention=True, mlp=True, norms=True)
    cap = getattr(subject.model.config, "final_logit_softcapping", None)

    def uncapped(logits: Tensor) -> Tensor:
        return logits if cap is None else cap * torch.atanh(logits / cap)

    for name in subject.backends:
        clean = uncapped(subject.logits(name))
        together = uncapped(subject.logits(name, edits, hold)) - clean
        apart = [uncapped(subject.logits(name, [edit], hold)) - clean for edit in edits]
        # Near its cap a logit says little about what was capped.
        assert far(torch.stack(apart).sum(0), together) < (CLOSE if cap is None else 1e-7), name
        assert together.abs().max() > 1e-3
        heads = [e for e in edits if e.site.kind == "head.z"]
        assert (
            uncapped(subject.logits(name, heads, hold) - clean if cap is None else together)
            .abs()
            .max()
            > 1e-6
        )


def test_nothing_changes_nothing_and_everything_changes_all(subject: Subject) -> None:
    """Patched from itself or along rank 0, and along the whole space, at every site."""
    for name in subject.backends:
        clean = subject.logits(name)
        for at in matrix.sites(subject.model):
            (own,) = oracle.read(subject.model, subject.base, [at.place])
            itself = subject.edit(at, value=oracle.gather(own, END))
            assert far(subject.logits(name, [itself]), clean) < CLOSE, (name, str(at))
            width = own.shape[-1]
            none, all_of_it = torch.zeros(width, 0).double(), _square(width)
            rank0 = subject.logits(name, [subject.edit(at, basis=none)])
            assert far(rank0, clean) < CLOSE, (name, str(at))
            along = subject.logits(name, [subject.edit(at, basis=all_of_it)])
            whole = subject.logits(name, [subject.edit(at)])
            assert far(along, whole) < CLOSE, (name, str(at))
            assert far(whole, clean) > 1e-7, (name, str(at))


def _square(width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_in_bfloat16(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """They are the module's own, as far as its rounding goes: caps, scales and all."""
    folder = family_folder(tmp_path_factory.mktemp(name), name)
    subject = Subject(folder, "bfloat16")
    own = oracle.logits(subject.model, subject.base).float()
    exactly = oracle.logits(oracle.load(folder), subject.base).float()
    rounding = (own - exactly).abs().max() + 2**-8 * exactly.abs().max()
    assert rounding < 0.3 * exactly.std(), "so much rounding shows nothing"
    for backend in subject.backends:
        found = subject.logits(backend).float()
        assert (found - own).abs().max() <= 2 * rounding, backend
