"""Components held at their clean values with TransformerLens hooks.

A frozen run is two forward passes: a clean one that records every z, every MLP's neurons (of a
mixture of experts, what it adds) and every norm's scale, and one whose hooks put them back before
the edits act (``plan/freeze.py``). A norm N(x) = c(x) s(x) w + b, with c(x) the centred input of a
layer norm and x itself for an RMS norm, is held by giving c(x') s(x) w + b in its place. So is the
ratio by which a soft cap shrinks each logit: else effects on logits would not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.hooks.points import NORMED, Points
from causaldsl.engine.softcap import shrinkage
from causaldsl.engine.upcast import upcast
from causaldsl.model.families.forms import Norm
from causaldsl.model.sites import Site
from causaldsl.plan.freeze import Freeze

Change = Callable[[Tensor], Tensor | None]
"""What to do with the activation at a hook; None leaves it as it is."""


class HeldNorm:
    """A norm that scales as in the clean run, wherever it is used in a pass."""

    def __init__(self, points: Points, norm: Norm):
        self.norm = norm
        self._around = points.around(norm.module)
        self.module = points.module(norm.module)
        weight: Tensor | None = getattr(self.module, "weight", None)
        if weight is not None and norm.weight == "one_plus":
            weight = 1 + upcast(weight)
        self._weight = weight
        self._bias: Tensor | None = getattr(self.module, "bias", None)
        self._scale = self._input = torch.empty(0)
        self.times = 0

    def record(self, x: Tensor) -> None:
        """Keep the scale of the clean run's input."""
        self._scale = scale(self.norm, x)

    def see(self, x: Tensor) -> None:
        self._input = x

    def put(self, out: Tensor) -> Tensor:
        """What the norm gives for the input that was seen, with the clean scale."""
        self.times += 1
        y = centred(self.norm, self._input) * self._scale
        if self.norm.rounds_first:
            y = y.to(out.dtype)
        if self._weight is not None:
            y = y * self._weight
        if self._bias is not None:
            y = y + self._bias
        return y.to(out.dtype)

    @contextmanager
    def recording(self) -> Iterator[None]:
        with self._hooked(self.record, lambda out: None):
            yield

    @contextmanager
    def holding(self) -> Iterator[None]:
        with self._hooked(self.see, self.put):
            yield

    @contextmanager
    def _hooked(self, before: Change, after: Change) -> Iterator[None]:
        """With hooks of PyTorch, on the hook points where the bridge has wrapped the norm.

        Interventions at these hook points act before the input is seen, and on what is put.
        """
        if self._around is None:
            handles = [
                self.module.register_forward_pre_hook(lambda _, args: _only(before(args[0]))),
                self.module.register_forward_hook(lambda _, args, out: after(out)),
            ]
        else:
            first, last = self._around
            handles = [
                first.register_forward_hook(lambda _, args, x: before(x)),
                last.register_forward_hook(lambda _, args, x: after(x), prepend=True),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _only(nothing: Tensor | None) -> None:
    assert nothing is None


def centred(norm: Norm, x: Tensor) -> Tensor:
    """What the scale multiplies, in single precision at least."""
    x = upcast(x)
    return x - x.mean(-1, keepdim=True) if norm.kind == "layer" else x


def scale(norm: Norm, x: Tensor) -> Tensor:
    """1 / sqrt(mean(c(x)^2) + eps), (..., 1)."""
    return torch.rsqrt(centred(norm, x).square().mean(-1, keepdim=True) + norm.eps)


@dataclass
class Held:
    """What one pass holds: clean values by site, and norms."""

    values: dict[Site, Tensor] = field(default_factory=dict)
    norms: list[HeldNorm] = field(default_factory=list)
    shrinkage: Tensor | None = None
    """(n, 1, V): what the soft cap multiplies each logit at the last position by."""

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Norms are held in a pass, in which each must be used once."""
        with ExitStack() as stack:
            for norm in self.norms:
                stack.enter_context(norm.holding())
            yield
        for norm in self.norms:
            if norm.times != 1:
                raise RunFailure(
                    f"the norm {norm.norm.module} was used {norm.times} times in a forward pass",
                    "so its scale can't be held; take `layernorm recompute`",
                )


def held_sites(points: Points, freeze: Freeze) -> list[Site]:
    """A site for each hook point where values are held."""
    sites: list[Site] = []
    for layer in range(points.shapes.n_layers):
        if freeze.attention:
            sites.append(Site("head.z", layer, 0))
        if freeze.holds_mlp(layer):
            neurons = points.shapes.has_neurons(layer)
            sites.append(Site("mlp_hidden" if neurons else "mlp_out", layer))
    return sites


def clean_values(points: Points, tokens: Tensor, freeze: Freeze) -> Held:
    """What is held, from a clean pass."""
    held = Held()
    if freeze.norms:
        if points.form is None:
            raise RunFailure(
                f"which norms {points.shapes.architecture} has is not known here",
                "take `layernorm recompute`",
            )
        held.norms = [HeldNorm(points, norm) for norm in points.form.norms()]

    def keep(site: Site) -> Callable[..., None]:
        def hook(x: Tensor, hook: Any) -> None:
            held.values[site] = x.detach().clone()

        return hook

    def keep_shrinkage(x: Tensor, hook: Any) -> None:
        assert points.form is not None
        assert points.form.logit_softcap is not None
        held.shrinkage = shrinkage(points.unembed(x[:, -1:]), points.form.logit_softcap)

    hooks = [(points.of(site), keep(site)) for site in held_sites(points, freeze)]
    if freeze.norms and points.form is not None and points.form.logit_softcap is not None:
        hooks.append((NORMED, keep_shrinkage))
    with torch.no_grad(), ExitStack() as stack:
        for norm in held.norms:
            stack.enter_context(norm.recording())
        stack.enter_context(points.model.hooks(fwd_hooks=hooks))
        points.model(tokens)
    return held


def hold(site: Site, clean: Tensor, freeze: Freeze) -> Change:
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


def changes(held: Held, freeze: Freeze) -> Sequence[tuple[Site, Change]]:
    """What is done at the hook points of the held sites."""
    return [(site, hold(site, value, freeze)) for site, value in held.values.items()]
