"""nnsight: the Hugging Face module, traced."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from nnsight import NNsight
from serving import Pairs, load, serve, timed, train
from torch import Tensor
from torch.nn import functional as F

MODEL: Any = None


def open_model(folder: str) -> dict[str, Any]:
    global MODEL
    MODEL = NNsight(load(folder))
    return {"version": version("nnsight")}


def end_sweep(pairs: str, cells: list[list[int]]) -> dict[str, Any]:
    return timed(lambda: _end_sweep(Pairs(pairs), [layer for (layer,) in cells]))


@torch.no_grad()
def _end_sweep(pairs: Pairs, layers: list[int]) -> Tensor:
    found, sources = [], {}
    with MODEL.trace(pairs.source, logits_to_keep=1):
        for layer in layers:
            sources[layer] = MODEL.model.layers[layer].input[:, -1].save()
    for layer in layers:
        with MODEL.trace(pairs.base, logits_to_keep=1):
            MODEL.model.layers[layer].input[:, -1] = sources[layer]
            logits = MODEL.output.logits.save()
        found.append(pairs.differences(logits))
    return torch.stack(found)


def head_sweep(pairs: str, cells: list[list[int]]) -> dict[str, Any]:
    return timed(lambda: _head_sweep(Pairs(pairs), cells))


@torch.no_grad()
def _head_sweep(pairs: Pairs, cells: list[list[int]]) -> Tensor:
    config = MODEL._module.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    found, sources = [], {}
    with MODEL.trace(pairs.source, logits_to_keep=1):
        for layer in sorted({cell[0] for cell in cells}):
            sources[layer] = MODEL.model.layers[layer].self_attn.o_proj.input[:, -1].save()
    for layer, head in cells:
        begin, end = head * size, (head + 1) * size
        with MODEL.trace(pairs.base, logits_to_keep=1):
            place = MODEL.model.layers[layer].self_attn.o_proj.input
            place[:, -1, begin:end] = sources[layer][:, begin:end]
            logits = MODEL.output.logits.save()
        found.append(pairs.differences(logits))
    return torch.stack(found)


def das_step(pairs: str, site: str, layer: int, steps: int, lr: float) -> dict[str, Any]:
    given = Pairs(pairs)
    generator = torch.Generator().manual_seed(1)
    free = torch.randn(MODEL._module.config.intermediate_size, 1, generator=generator)
    free.requires_grad_()

    def step(values: Tensor) -> None:
        _loss(given, layer, values, free / free.norm()).backward()

    return train(steps, lr, lambda: _sources(given, layer), step, [free])


@torch.no_grad()
def das_loss(
    pairs: str, site: str, layer: int, steps: int, lr: float, basis: list[float]
) -> dict[str, Any]:
    given, direction = Pairs(pairs), torch.tensor(basis)[:, None]
    return timed(lambda: _loss(given, layer, _sources(given, layer), direction))


@torch.no_grad()
def _sources(pairs: Pairs, layer: int) -> Tensor:
    with MODEL.trace(pairs.source, logits_to_keep=1):
        values = MODEL.model.layers[layer].mlp.down_proj.input[:, -1].save()
    return values  # noqa: RET504 (a trace's body is run elsewhere: it can't return)


def _loss(pairs: Pairs, layer: int, values: Tensor, basis: Tensor) -> Tensor:
    with MODEL.trace(pairs.base, logits_to_keep=1):
        place = MODEL.model.layers[layer].mlp.down_proj
        x = place.input.clone()
        x[:, -1] = x[:, -1] + ((values - x[:, -1]) @ basis) @ basis.T
        place.input = x
        logits = MODEL.output.logits.save()
    return F.cross_entropy(logits[:, -1], pairs.answers[:, 1])


if __name__ == "__main__":
    serve(
        {
            "open": open_model,
            "end_sweep": end_sweep,
            "head_sweep": head_sweep,
            "das_step": das_step,
            "das_loss": das_loss,
        }
    )
