"""Components held at their clean values with TransformerLens hooks.

A frozen run is two forward passes: a clean one that records every z, every MLP's neurons and every
norm's scale, and one whose hooks put them back before the edits act (``plan/freeze.py``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.edits import Freeze
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site

Hold = Callable[[Tensor], Tensor]


def frozen_sites(model: Any, shapes: ModelDims, freeze: Freeze) -> list[Site]:
    """A site for each hook point where values are held."""
    sites: list[Site] = []
    for layer in range(shapes.n_layers):
        if freeze.attention:
            sites.append(Site("head.z", layer, 0))
        if freeze.holds_mlp(layer):
            sites.append(Site("mlp_hidden", layer))
        if freeze.norms:
            names = (f"blocks.{layer}.ln1.hook_scale", f"blocks.{layer}.ln2.hook_scale")
            sites += [Site("hook", hook=name) for name in names if name in model.hook_dict]
    if freeze.norms:
        sites.append(Site("hook", hook="ln_final.hook_scale"))
    return sites


@torch.no_grad()
def clean_values(model: Any, tokens: Tensor, sites: list[Site]) -> dict[Site, Tensor]:
    """The activation at each of these hook points in a clean pass."""
    values: dict[Site, Tensor] = {}

    def keep(site: Site) -> Callable[..., None]:
        def hook(x: Tensor, hook: Any) -> None:
            values[site] = x.detach().clone()

        return hook

    with model.hooks(fwd_hooks=[(site.hook_name, keep(site)) for site in sites]):
        model(tokens)
    return values


def hold(site: Site, clean: Tensor, freeze: Freeze) -> Hold:
    """A function that puts the held values back at one of these hook points."""
    if site.kind != "head.z":
        return lambda x: clean
    assert site.layer is not None
    heads = [h for h in range(clean.shape[2]) if freeze.holds_head(site.layer, h)]

    def change(z: Tensor) -> Tensor:
        out = z.clone()
        out[:, :, heads] = clean[:, :, heads]
        return out

    return change


@contextmanager
def rounding_accepted() -> Iterator[None]:
    """TransformerLens warns that a held scale costs Hugging Face's own rounding; it is meant to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*hook_scale/hook_normalized.*")
        yield
