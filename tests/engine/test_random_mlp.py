"""The random MLP against its equations, worked out on the clean Hugging Face module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.diagnostics import ProgramError
from causaldsl.engine.random_mlp import random_mlp
from causaldsl.model.sites import Site
from tests.engine.test_interpret import check, run
from tests.frontend.world import PRELUDE, make_world
from tests.oracle import of_folder

PROGRAM = (
    PRELUDE
    + """
site fake = random_mlp(2, seed: 3) @ END
subspace v = das(fake, on: flip.train, epochs: 2, lr: 0.05)
subspace r = random(fake, dim: 2)
measure m on flip.test {
  whole = patch fake
  along_v = patch fake along v
  plane = patch fake along r
  zero = ablate fake to zero
  pushed = steer fake along v by 2
  nothing = steer fake along v by 0
  report logit_diff
}
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("run"))


def mlp_of(module: torch.nn.Module, family: str, layer: int) -> torch.nn.Module:
    blocks = module.model.layers if family == "llama" else module.transformer.h
    return blocks[layer].mlp


def last_token(module: torch.nn.Module, family: str, ids: Tensor, add: Tensor | None) -> tuple:
    """Logits, and the MLP's input and output at the last token; ``add`` goes to the output."""
    seen = {}

    def hook(_: object, inputs: tuple, output: Tensor) -> Tensor:
        seen["in"], seen["out"] = inputs[0][0, -1], output[0, -1]
        if add is not None:
            output = output.clone()
            output[0, -1] += add
        return output

    handle = mlp_of(module, family, 2).register_forward_hook(hook)
    try:
        logits = module(ids).logits[0, -1]
    finally:
        handle.remove()
    return logits, seen["in"], seen["out"]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_equations(family: str, backend: str, world: Path) -> None:
    text = PROGRAM.replace("tiny-llama", f"tiny-{family}")
    results, session = run(text, world, backend=backend)
    weights = random_mlp(session, Site("random_mlp", 2, seed=3))
    folder = world / f"tiny-{family}"
    module = of_folder(folder)

    def hidden(x: Tensor) -> Tensor:
        inner = x @ weights.w_in + weights.b_in
        if family == "gpt2":
            return F.gelu(inner, approximate="tanh")
        assert weights.gate is not None
        return F.silu(x @ weights.gate[0]) * inner

    pairs = next(p for p in session.graph.pairs.values() if p.name == "flip.test").pairs
    runs = {
        side: [
            last_token(module, family, torch.tensor([getattr(pair, side).ids]), None)
            for pair in pairs
        ]
        for side in ("base", "source")
    }
    before = torch.stack([hidden(x) for _, x, _ in runs["base"]])
    after = torch.stack([hidden(x) for _, x, _ in runs["source"]])
    made = (before @ weights.w_out + weights.b_out).norm(dim=1).mean()
    size = torch.stack([out for _, _, out in runs["base"]]).norm(dim=1).mean() / made
    along = {
        name: session.values[session.graph.key_of(name)].basis
        @ session.values[session.graph.key_of(name)].basis.T
        for name in ("v", "r")
    }
    one = session.values[session.graph.key_of("v")].direction
    changes = {
        "whole": after - before,
        "along_v": (after - before) @ along["v"],
        "plane": (after - before) @ along["r"],
        "zero": -before,
        "pushed": 2 * one.expand(len(before), -1),
        "nothing": torch.zeros_like(before),
    }
    clean = results.measures["m"]["clean"]["logit_diff"].mean
    for arm, change in changes.items():
        expected = []
        for pair, moved in zip(pairs, size * change @ weights.w_out, strict=True):
            logits, _, _ = last_token(module, family, torch.tensor([pair.base.ids]), moved)
            expected.append(logits[pair.answer] - logits[pair.foil])
        found = results.measures["m"][arm]["logit_diff"].mean
        assert found == pytest.approx(float(torch.stack(expected).mean()), abs=1e-9), arm
        assert (abs(found - clean) > 1e-4) == (arm != "nothing"), arm


def test_shape_of_the_real_one(world: Path) -> None:
    """Biases where the real MLP has them, the real standard deviations, another draw by seed."""
    for family in ("llama", "gpt2"):
        _, session = run(PROGRAM.replace("tiny-llama", f"tiny-{family}"), world)
        first, second = (random_mlp(session, Site("random_mlp", 2, seed=s)) for s in (3, 4))
        real = mlp_of(session.loaded.hf, family, 2)
        w_in = real.up_proj.weight if family == "llama" else real.c_fc.weight
        assert float(first.w_in.std() / w_in.std()) == pytest.approx(1, abs=0.1)
        assert (first.gate is not None) == (family == "llama")
        assert (float(first.b_in.abs().sum()) > 0) == (family == "gpt2")
        assert not torch.allclose(first.w_out, second.w_out)


def test_training_lowers_the_loss(world: Path) -> None:
    """Gradients reach a direction in a layer that is not in the model, on both backends alike."""
    curves = []
    for backend in ("cone", "hooks"):
        text = PROGRAM.replace("epochs: 2", "epochs: 12")
        results, _ = run(text, world, backend=backend)
        curves.append(results.subspaces["v"].losses)
    assert curves[0] is not None
    assert curves[0][-1] < curves[0][0] - 0.01
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("random_mlp(9)", "no layer 9"),
        ("random_mlp()", "needs a layer"),
        ("random_mlp(1, 2)", "takes 1 operand, not 2"),
        ("random_mlp(1, sed: 2)", "no option `sed`"),
        ("random_mlp(1, seed: -2)", "can't be -2"),
        (
            "random_mlp(1) @ END\nsubspace g = gradient(fake, of: logit_diff, on: flip.train)",
            "no gradient",
        ),
    ],
)
def test_mistakes(written: str, said: str, world: Path) -> None:
    with pytest.raises(ProgramError, match=said):
        check(PRELUDE + f"site fake = {written}\n", world)
