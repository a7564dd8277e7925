"""pyvene: interchange interventions on a Hugging Face module.

The sources' activations are collected once and passed in, which saves a pass over the sources for
every cell and step.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pyvene
import torch
from serving import Pairs, load, serve, timed, train
from torch import Tensor
from torch.nn import functional as F

MODEL: Any = None


def open_model(folder: str) -> dict[str, Any]:
    global MODEL
    MODEL = load(folder)
    return {"version": version("pyvene")}


def end_sweep(pairs: str, cells: list[list[int]]) -> dict[str, Any]:
    return timed(lambda: _sweep(Pairs(pairs), cells, "block_input", "pos"))


def head_sweep(pairs: str, cells: list[list[int]]) -> dict[str, Any]:
    return timed(lambda: _sweep(Pairs(pairs), cells, "head_attention_value_output", "h.pos"))


@torch.no_grad()
def _sweep(pairs: Pairs, cells: list[list[int]], component: str, unit: str) -> Tensor:
    """Every cell is an IntervenableModel of its own, as a grid search in pyvene's tutorials."""
    found = []
    n, end = len(pairs.base), pairs.base.shape[1] - 1
    keys = [{"layer": cell[0], "component": component, "unit": unit} for cell in cells]
    units = [[[[cell[1]]] * n, [[end]] * n] if unit == "h.pos" else [[end]] * n for cell in cells]
    collecting = pyvene.IntervenableModel(
        [key | {"intervention_type": pyvene.CollectIntervention} for key in keys], model=MODEL
    )
    at = {"base": units if unit == "pos" else [list(u) for u in units]}
    (_, collected), _ = collecting(base={"input_ids": pairs.source}, unit_locations=at)
    for key, place, value in zip(keys, units, collected, strict=True):
        patching = pyvene.IntervenableModel(
            key | {"intervention_type": pyvene.VanillaIntervention}, model=MODEL
        )
        _, output = patching(
            base={"input_ids": pairs.base, "logits_to_keep": 1},
            unit_locations={"sources->base": ([place], [place])},
            source_representations=_batched(value, n),
        )
        found.append(pairs.differences(output.logits))
    return torch.stack(found)


def _batched(value: Tensor, n: int) -> Tensor:
    return value.reshape(n, *value.shape[-(value.dim() - 1) :]) if value.shape[0] == n else value


def das_step(pairs: str, site: str, layer: int, steps: int, lr: float) -> dict[str, Any]:
    given, trained, patching = _das(pairs, layer)

    def step(values: Tensor) -> None:
        _loss(patching, given, values).backward()

    return train(steps, lr, lambda: _sources(given, layer), step, trained.parameters())


def das_loss(
    pairs: str, site: str, layer: int, steps: int, lr: float, basis: list[float]
) -> dict[str, Any]:
    given, trained, patching = _das(pairs, layer)
    with torch.no_grad():
        trained.rotate_layer.weight = torch.tensor(basis)[:, None]
        return timed(lambda: _loss(patching, given, _sources(given, layer)))


def _das(pairs: str, layer: int) -> tuple[Pairs, Any, Any]:
    width = MODEL.config.intermediate_size
    trained = pyvene.LowRankRotatedSpaceIntervention(embed_dim=width, low_rank_dimension=1)
    patching = pyvene.IntervenableModel(
        {"component": _neurons(layer), "intervention": trained}, model=MODEL
    )
    return Pairs(pairs), trained, patching


def _neurons(layer: int) -> str:
    """What the MLP's last matrix reads."""
    return f"model.layers[{layer}].mlp.down_proj.input"


@torch.no_grad()
def _sources(pairs: Pairs, layer: int) -> Tensor:
    """(n, 1, d_mlp)"""
    collecting = pyvene.IntervenableModel(
        {"component": _neurons(layer), "intervention": pyvene.CollectIntervention()}, model=MODEL
    )
    end = pairs.source.shape[1] - 1
    (_, (values,)), _ = collecting(
        base={"input_ids": pairs.source, "logits_to_keep": 1}, unit_locations={"base": end}
    )
    return values.reshape(len(pairs.source), 1, -1)


def _loss(patching: Any, pairs: Pairs, values: Tensor) -> Tensor:
    end = pairs.base.shape[1] - 1
    _, output = patching(
        base={"input_ids": pairs.base, "logits_to_keep": 1},
        unit_locations={"sources->base": (end, end)},
        source_representations=values,
    )
    return F.cross_entropy(output.logits[:, -1], pairs.answers[:, 1])


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
