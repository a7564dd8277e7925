"""Patterns of attention with TransformerLens hooks, which show them as (n, heads, T, T)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from causaldsl.engine.exact import exact
from causaldsl.engine.hooks.frozen import Change
from causaldsl.engine.hooks.points import Points


class Patterns:
    """In which layers a change of what the hook shows is what heads go on with.

    For some families TransformerLens shows a pattern only after it has been used. So each layer is
    tried: without any attention, z has to be 0.
    """

    def __init__(self, points: Points, dtype: torch.dtype):
        self._points, self._dtype = points, dtype
        self._known: dict[int, bool] = {}

    def used(self, layer: int) -> bool:
        if layer not in self._known:
            self._known[layer] = self._tried(layer)
        return self._known[layer]

    @torch.no_grad()
    def _tried(self, layer: int) -> bool:
        model, z = self._points.model, list[Tensor]()
        names = f"blocks.{layer}.attn.hook_pattern", f"blocks.{layer}.attn.hook_z"
        if not self._points.names.issuperset(names):
            return False

        def nothing(x: Tensor, hook: Any) -> Tensor:
            return torch.zeros_like(x)

        def keep(x: Tensor, hook: Any) -> None:
            z.append(x)

        device = next(model.parameters()).device
        hooks = list(zip(names, (nothing, keep), strict=True))
        with model.hooks(fwd_hooks=hooks), exact(self._dtype):
            model(torch.zeros(1, 2, dtype=torch.long, device=device))
        return bool(z) and not bool(z[0].any())


def by_query(change: Change) -> Change:
    """A change of patterns (n, T, heads, T), where they are seen as (n, heads, T, T)."""

    def turned(x: Tensor) -> Tensor | None:
        new = change(x.transpose(1, 2))
        return None if new is None else new.transpose(1, 2)

    return turned
