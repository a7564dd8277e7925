"""The interventions on a site: patches, ablations and steering."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.dictionaries.edits import feature_change
from causaldsl.engine.here import Here
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.random_mlp import write
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import stack
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.plan.virtual import edited, read_for
from causaldsl.vocabulary.base import Side
from causaldsl.vocabulary.interventions import Ablate, Patch, PatchFrom, Steer


@evaluates(Patch)
def patch(here: Here[Patch], along: SubspaceValue | None) -> PreparedEdit:
    return set_site(here, values_of(here, "source"), along)


@evaluates(PatchFrom)
def patch_from(here: Here[PatchFrom], along: SubspaceValue | None, values: Any) -> PreparedEdit:
    """The values are those of each pair, or (k, d) for all of them."""
    if isinstance(values, Tensor) and here.at.site.is_virtual:
        values = [values] * len(here.pairs)
    return set_site(here, values, along)


@evaluates(Ablate)
def ablate(here: Here[Ablate], along: SubspaceValue | None) -> PreparedEdit:
    values, to = values_of(here, "base"), here.word.to
    if to == "zero":
        return set_site(here, [torch.zeros_like(v) for v in values], along)
    if to == "noise":
        return _with_noise(here, values, along)
    if to == "mean" and here.word.by == "template":
        templates = [pair.template for pair in here.pairs.pairs]
        means = {
            one: stack([v for v, of in zip(values, templates, strict=True) if of == one]).mean(0)
            for one in dict.fromkeys(templates)
        }
        return set_site(here, [means[template] for template in templates], along)
    if to == "mean":
        return set_site(here, [stack(values).mean(0)] * len(values), along)
    generator = here.generator(0, "resample", here.key)
    order = torch.randperm(len(values), generator=generator).tolist()
    # Along one cycle through all pairs, so that no base gets its own value back.
    after = {order[i]: order[(i + 1) % len(order)] for i in range(len(order))}
    resampled = [values[after[i]] for i in range(len(values))]
    stack(resampled)
    return set_site(here, resampled, along)


def _with_noise(
    here: Here[Ablate], values: list[Tensor], along: SubspaceValue | None
) -> PreparedEdit:
    """Add noise of `by` times the standard deviation of all numbers of the site over the bases.

    The draws depend on the pairs, the place and the seed, so that `by` only scales them.
    """
    assert isinstance(here.word.by, float)
    size = here.word.by * torch.cat([v.flatten() for v in values]).cpu().double().std(correction=0)
    seed = here.word.seed or 0
    generator = here.generator(seed, "noise", here.pairs.digest, str(here.at))
    noise = [size * torch.randn(v.shape, generator=generator, dtype=torch.float64) for v in values]
    if along is not None:
        basis = along.basis.cpu().double()
        noise = [drawn @ basis @ basis.T for drawn in noise]
    if here.at.site.dictionary is not None:
        return _set_features(here, noise, None, steps=True)
    if here.at.site.is_virtual:
        return set_site(here, [v + n.to(v) for v, n in zip(values, noise, strict=True)], None)
    added = [drawn.to(v) for v, drawn in zip(values, noise, strict=True)]
    return PreparedEdit(here.at, added, None, add=True)


@evaluates(Steer)
def steer(here: Here[Steer], along: SubspaceValue) -> PreparedEdit:
    if along.rank == 0:
        raise RunFailure("the direction to steer along is zero", "choose another direction")
    amount = here.value("by")
    by = here.word.by if amount is None else here.word.by * float(amount)
    if not math.isfinite(by):
        raise RunFailure(f"the amount to steer by is {by}", "choose another number")
    moved = by * along.direction[None]
    if here.at.site.dictionary is not None:
        return _set_features(here, moved, None, steps=True)
    if here.at.site.is_virtual:
        return set_site(here, [value + moved.to(value) for value in values_of(here, "base")], None)
    return PreparedEdit(here.at, moved, None, add=True)


def values_of(here: Here[Any], side: Side) -> list[Tensor]:
    """An intervention's site in one side's clean run: the activations (k, d) of each pair."""
    return here.of_run(here.operation.input(side), backend=here.recorded_by(side))


def set_site(here: Here[Any], values: list[Tensor], along: SubspaceValue | None) -> PreparedEdit:
    """Set the operation's site to a value for each pair, along a subspace or as a whole."""
    at, basis = here.at, None if along is None else along.basis
    if at.site.dictionary is not None:
        return _set_features(here, values, basis)
    if not at.site.is_virtual:
        return PreparedEdit(at, values, basis)
    edit = write(here.session, here.operation.input("base"), here.recorded_by("base"), at)
    basis = None if basis is None else basis.to(values[0])
    nowhere = torch.zeros(0)
    moves = [
        edit(hidden, value, nowhere, basis).value
        for hidden, value in zip(values_of(here, "base"), values, strict=True)
    ]
    return PreparedEdit(edited(at), moves, None, add=True)


def _set_features(
    here: Here[Any], values: list[Tensor] | Tensor, basis: Tensor | None, steps: bool = False
) -> PreparedEdit:
    """Set features, or with ``steps`` add to them; a transcoder's by the clean bases' inputs."""
    at, inputs = here.at, None
    if at.site.read != at.site.written:
        base, by = here.operation.input("base"), here.recorded_by("base")
        inputs = here.of_run(base, read_for(at)[0], by)
    return feature_change(here.session, at, values, basis, inputs, steps)
