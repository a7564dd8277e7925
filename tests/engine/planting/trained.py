"""A small model that was trained for the task, one MLP of it drawn anew, directions learned there.

Nothing is planted, so there is no frame. The truth is measured in two: the principal axes of what
moves, and the neurons; where they differ, the case is not a clear one.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from tests.engine.planting import build as planted
from tests.engine.planting.build import Built, Spec, prompts
from tests.oracle import logits
from tests.tiny import PLACES

_STEPS, _LEARNED = 120, 40


def spec(seed: int) -> Spec:
    chance = random.Random(f"trained {seed}")
    family, layers = chance.choice(("gpt2", "llama")), chance.choice((3, 4))
    return Spec(
        kind="trained",
        seed=seed,
        family=family,
        layers=layers,
        layer=chance.randrange(layers - 1),
        site=("mlp_hidden", "mlp_hidden", "resid_post")[seed % 3],
        width=64,
        style="trained",
        b=0.0,
        noise=0.0,
        reads=(),
    )


def build(spec: Spec) -> Built:
    """The trained model, in memory; the MLP of its site's layer is random if the site is in it."""
    torch.manual_seed(spec.seed)
    module = planted._empty(spec).train(False)
    tokens, columns, signs = _task(spec)
    optimiser = torch.optim.Adam(module.parameters(), lr=4e-3)
    for _ in range(_STEPS):
        found = module(tokens).logits[:, -1]
        lead = (found[:, columns[0]] - found[:, columns[1]]) * signs
        loss = torch.nn.functional.softplus(2 - lead).mean() + 1e-4 * found.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if spec.site == "mlp_hidden":
        draw = torch.Generator().manual_seed(spec.seed + 1)
        with torch.no_grad():
            for weight in planted._blocks(module)[spec.layer].mlp.parameters():
                if weight.dim() == 2:
                    size = weight.shape[0 if spec.family == "gpt2" else 1] ** -0.5
                    weight.copy_(1.5 * size * torch.randn(weight.shape, generator=draw))
    module.requires_grad_(False)
    return Built(spec, module, torch.zeros(_width(spec), 0, dtype=torch.float64), ())


def _width(spec: Spec) -> int:
    return planted.D_MODEL if spec.site in planted.STREAM else spec.width


def _task(spec: Spec) -> tuple[Tensor, list[int], Tensor]:
    tokenizer = planted._tokenizer()
    pairs = prompts(spec)
    texts = [base for base, _ in pairs]
    signs = torch.tensor([1.0 - 2 * (i % 2) for i in range(len(texts))])
    tokens = torch.tensor([tokenizer.encode(text).ids for text in texts])
    vocabulary = tokenizer.get_vocab()
    return tokens, [vocabulary["Ġ" + place] for place in PLACES[:2]], signs


def learned(module: torch.nn.Module, spec: Spec, moves: Tensor, seed: int) -> Tensor:
    """A direction (d,) whose patch flips the answers: gradient ascent through the whole model."""
    tokens, columns, signs = _task(spec)
    draw = torch.Generator().manual_seed(seed)
    v = torch.randn(moves.shape[1], generator=draw, dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.Adam([v], lr=0.1)
    for _ in range(_LEARNED):
        unit = v / v.norm()

        def change(x: Tensor, unit: Tensor = unit) -> Tensor:
            added = torch.zeros_like(x)
            added[:, -1] = (moves @ unit)[:, None] * unit
            return x + added

        found = logits(module, tokens, [(spec.place, change)])
        loss = torch.nn.functional.softplus(
            (found[:, columns[0]] - found[:, columns[1]]) * signs
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (v / v.norm()).detach()
