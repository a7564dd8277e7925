"""Many runs in one pass give what each gives alone, and what the hooks backend gives."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.engine.backend import Activations, CleanPass, Logits, Losses, Pass, logits_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.model.sites import Site
from causaldsl.plan.freeze import Freeze
from tests.engine.conftest import LENGTH, Parties

N, END = 3, LENGTH - 1
PLACES = [
    ("embed", None, None, END),
    ("resid_pre", 0, None, 2),
    ("resid_post", 0, None, END),
    ("resid_mid", 1, None, END),
    ("mlp_hidden", 1, None, END),
    ("mlp_hidden", 1, None, 1),
    ("head.z", 1, 0, END),
    ("head.out", 1, 1, END),
    ("head.q", 2, 1, 3),
    ("mlp_out", 2, None, END),
    ("resid_post", 2, None, END),
]


def places(parties: Parties) -> list[tuple[str, int, int | None, int]]:
    """A parallel block has no stream between attention and MLP."""
    other = "attn_out" if parties.shapes.parallel else "resid_mid"
    return [(other if kind == "resid_mid" else kind, *rest) for kind, *rest in PLACES]


def at(position: int, rows: int = N) -> Tensor:
    return torch.full((rows, 1), position)


def edits_of(parties: Parties, rows: int = N) -> list[list[Edit]]:
    """An arm at every place, one at two places, one that does nothing."""
    generator = torch.Generator().manual_seed(0)
    arms: list[list[Edit]] = []
    for kind, layer, head, position in places(parties):
        site = Site(kind, layer, head)
        width = site.width(parties.shapes)
        assert width is not None
        value = torch.randn(rows, 1, width, generator=generator, dtype=torch.float64)
        arms.append([Edit(site, at(position, rows), value)])
    return [*arms, [*arms[2], *arms[6]], []]


def announced(parties: Parties) -> list[Read]:
    found = places(parties)
    return [Read(Site(k, layer, head), at(position)) for k, layer, head, position in found]


@pytest.fixture(autouse=True)
def _has_a_cone(trio: Parties) -> None:
    if "cone" not in trio.backends:
        pytest.skip("the cone has no forward pass for this family")


@pytest.mark.parametrize("at_once", [1024, 13, 1], ids=lambda n: f"{n} at once")
@pytest.mark.parametrize("wanted", ["vocabulary", "columns"])
def test_logits(trio: Parties, at_once: int, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cone, hooks = trio.backends["cone"], trio.backends["hooks"]
    monkeypatch.setattr(cone, "at_once", at_once)
    arms, clean = edits_of(trio), cone.clean(CleanPass(trio.base, (), announced(trio)))
    columns = None if wanted == "vocabulary" else torch.tensor([[1, 2]] * N)
    together = cone.run(Pass(clean, arms, Logits(columns)))
    reference = hooks.run(Pass(hooks.clean(CleanPass(trio.base)), arms, Logits(columns)))
    for edits, mine, theirs in zip(arms, together, reference, strict=True):
        assert torch.allclose(mine, logits_of(cone, clean, edits, columns), atol=1e-10)
        assert torch.allclose(mine, theirs, atol=1e-8)


def test_prompts_of_their_own(trio: Parties) -> None:
    """Rows and columns given for each arm."""
    cone = trio.backends["cone"]
    clean = cone.clean(CleanPass(trio.base, (), announced(trio)))
    rows = torch.tensor([[i % N, (i + 1) % N] for i in range(len(edits_of(trio)))])
    columns = torch.stack([rows + 1, rows + 4], -1)
    arms = edits_of(trio, rows=2)
    together = cone.run(Pass(clean, arms, Logits(columns), rows))
    for i, (edits, mine) in enumerate(zip(arms, together, strict=True)):
        alone = logits_of(cone, clean, edits, columns[i], rows[i])
        assert torch.allclose(mine, alone, atol=1e-10)


def test_losses_and_their_gradients(trio: Parties) -> None:
    cone = trio.backends["cone"]
    clean = cone.clean(CleanPass(trio.base, (), announced(trio)))
    arms, targets = edits_of(trio)[:-1], torch.tensor([5, 6, 7])
    for value in (edit.value for edits in arms for edit in edits):
        value.requires_grad_()
    values = list(dict.fromkeys(edit.value for edits in arms for edit in edits))
    weights = torch.arange(1.0, len(arms) * N + 1, dtype=torch.float64).view(-1, N)
    mine = cone.run(Pass(clean, arms, Losses(targets)))
    theirs = torch.stack(
        [F.cross_entropy(logits_of(cone, clean, e), targets, reduction="none") for e in arms]
    )
    assert torch.allclose(mine, theirs, atol=1e-10)
    gradients = [
        torch.autograd.grad((weights * found).sum(), values, retain_graph=True)
        for found in (mine, theirs)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(
    ("attention", "mlp", "norms"), [p for p in itertools.product([False, True], repeat=3) if any(p)]
)
def test_frozen_runs(trio: Parties, attention: bool, mlp: bool, norms: bool) -> None:
    """Recorded and run to the logits, each arm with what it frees."""
    cone, hooks = trio.backends["cone"], trio.backends["hooks"]
    freeze = Freeze(attention, mlp, norms)
    places = announced(trio)
    arms = edits_of(trio)[:-1]
    reads = [Read(Site("head.q", 2, 0), at(END)), Read(Site("mlp_out", 2), at(END))]
    clean = cone.clean(CleanPass(trio.base, (), [*places, *reads], frozen=True))
    plain = hooks.clean(CleanPass(trio.base, (), [*places, *reads], frozen=True))
    together = cone.run(Pass(clean, arms, Activations(reads), hold=freeze))
    reference = hooks.run(Pass(plain, arms, Activations(reads), hold=freeze))
    for mine, theirs in zip(together, reference, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-8)
    logits = cone.run(Pass(clean, arms, Logits(), hold=freeze))
    assert torch.allclose(logits, hooks.run(Pass(plain, arms, Logits(), hold=freeze)), atol=1e-8)
