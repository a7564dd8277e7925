"""Training's own way through the upper blocks gives what the other ways give, and its gradient."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from causaldsl.engine.backend import CleanPass, Losses, Pass
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.packing import LIMIT, STEPS, Packing
from causaldsl.engine.cone.replay import Inputs
from causaldsl.engine.cone.tail import Tail
from causaldsl.engine.edits import Edit, Read
from causaldsl.model.shapes import shapes_from_config
from causaldsl.model.sites import Site
from tests.engine.conftest import LENGTH, Parties
from tests.tiny import tiny_folder

SERVED = {"llama", "qwen2"}
SITES = [Site("mlp_hidden", 0), Site("resid_post", 0), Site("head.z", 1, 1), Site("resid_pre", 1)]
TARGETS = torch.tensor([5, 6, 7])


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The layers at which it took over."""
    layers: list[int] = []
    for way in ("run", "losses"):
        plain = getattr(Tail, way)

        def seen(self: Tail, inputs: Inputs, plain: Callable[..., Tensor] = plain) -> Tensor:
            layers.append(inputs.first)
            return plain(self, inputs)

        monkeypatch.setattr(Tail, way, seen)
    return layers


def end_of(lengths: Tensor) -> Tensor:
    return (lengths - 1)[:, None]


def edits_at(parties: Parties, positions: Tensor) -> list[list[Edit]]:
    """An arm along two directions at each site."""
    generator, arms = torch.Generator().manual_seed(0), []
    for site in SITES:
        width = site.width(parties.shapes)
        assert width is not None
        value, basis = torch.randn(2, len(positions), 1, width, generator=generator).double()
        basis = torch.linalg.qr(basis[:2, 0].T)[0].requires_grad_()
        arms.append([Edit(site, positions, value, basis)])
    return arms


def gradients(losses: Tensor, arms: list[list[Edit]]) -> list[Tensor]:
    weights = torch.arange(1.0, losses.numel() + 1, dtype=losses.dtype).view_as(losses)
    bases = [edit.basis for edits in arms for edit in edits if edit.basis is not None]
    return list(torch.autograd.grad((losses * weights).sum(), bases))


def same(one: list[Tensor], other: list[Tensor], close: float) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert mine.abs().max() > 1e-6
        assert torch.allclose(mine, theirs, atol=close, rtol=close)


def test_losses_and_gradients(trio: Parties, used: list[int]) -> None:
    """Arms that join at different blocks; the hooks backend runs each by itself."""
    if "cone" not in trio.backends:
        pytest.skip("the cone has no forward pass for this family")
    arms = edits_at(trio, end_of(torch.full((3,), LENGTH)))
    reads = [Read(edit.site, edit.positions) for (edit,) in arms]
    found = []
    for backend in (trio.backends["cone"], trio.backends["hooks"]):
        clean = backend.clean(CleanPass(trio.base, (), reads))
        with backend.training(STEPS):
            losses = backend.run(Pass(clean, arms, Losses(TARGETS)))
        found.append([losses.detach(), *gradients(losses, arms)])
    assert used == ([2] if trio.family in SERVED else [])
    same(*found, close=1e-9)


def test_prompts_of_their_own_and_of_other_lengths(llama: Parties, used: list[int]) -> None:
    """Each arm has other prompts, and these end at other places."""
    cone, lengths = llama.backends["cone"], torch.tensor([LENGTH, 4, 5])
    rows = torch.tensor([[0, 1], [2, 0], [1, 1], [2, 1]])
    clean = cone.clean(
        CleanPass(llama.base, (), [Read(site, end_of(lengths)) for site in SITES], lengths=lengths)
    )
    arms = [[edits_at(llama, end_of(lengths[some]))[i][0]] for i, some in enumerate(rows)]
    targets = TARGETS[rows]
    together = []
    for steps in (STEPS, 0):
        with cone.training(steps):
            losses = cone.run(Pass(clean, arms, Losses(targets), rows))
        together.append([losses.detach(), *gradients(losses, arms)])
    assert used == [2]
    same(*together, close=1e-10)
    alone = torch.stack(
        [
            cone.run(Pass(clean, [edits], Losses(targets[i]), rows[i]))[0]
            for i, edits in enumerate(arms)
        ]
    )
    assert torch.allclose(alone, together[0][0], atol=1e-10)


def test_in_single_precision(tmp_path: Path, used: list[int]) -> None:
    """With rearranged matrices, where there are any."""
    folder = tiny_folder(tmp_path, "llama")
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    shapes = shapes_from_config("llama", json.loads((folder / "config.json").read_text()), "none")
    cone, positions = ConeBackend(module, shapes), end_of(torch.full((3,), LENGTH))
    tokens = torch.randint(shapes.d_vocab, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    site, generator = Site("mlp_hidden", 0), torch.Generator().manual_seed(2)
    width = site.width(shapes)
    assert width is not None
    value = torch.randn(3, 1, width, generator=generator)
    basis = torch.linalg.qr(torch.randn(width, 1, generator=generator))[0].requires_grad_()
    arms = [[Edit(site, positions, value, basis)]]
    clean = cone.clean(CleanPass(tokens, (), [Read(site, positions)]))
    found = []
    for steps in (STEPS, 0):
        with cone.training(steps):
            losses = cone.run(Pass(clean, arms, Losses(TARGETS)))
            found.append([losses.detach(), *gradients(losses, arms)])
    assert used == [1]
    same(*found, close=1e-4)


def test_it_leaves_what_is_read_or_edited_further_up(llama: Parties, used: list[int]) -> None:
    cone, positions = llama.backends["cone"], end_of(torch.full((3,), LENGTH))
    (first, *_), *_ = edits_at(llama, positions)
    value = torch.ones(3, 1, 8, dtype=torch.float64)
    later = Edit(Site("head.z", 2, 0), positions, value[..., : llama.shapes.d_head])
    clean = cone.clean(CleanPass(llama.base, (), [Read(e.site, positions) for e in (first, later)]))
    with cone.training(STEPS):
        both = cone.run(Pass(clean, [[first, later]], Losses(TARGETS)))
        assert used == [3]
        cone.run(Pass(clean, [[first]], Losses(TARGETS)))
        assert used == [3, 1]
    hooks = llama.backends["hooks"]
    kept = hooks.clean(CleanPass(llama.base, (), [Read(e.site, positions) for e in (first, later)]))
    assert torch.allclose(both, hooks.run(Pass(kept, [[first, later]], Losses(TARGETS))), atol=1e-9)


def test_it_takes_the_upper_blocks_that_there_is_room_for(llama: Parties) -> None:
    cone = llama.backends["cone"]
    every, none = Packing(), Packing(0)
    whole = Tail(cone.decoder, every)
    assert (whole.first, Tail(cone.decoder, none).first) == (0, 4)
    taken = LIMIT - every.limit
    assert taken % 4 == 0
    two = Packing(taken // 2)
    assert (Tail(cone.decoder, two).first, two.limit) == (2, 0)
    three = Packing(taken - 1)
    assert (Tail(cone.decoder, three).first, three.limit) == (1, taken // 4 - 1)
