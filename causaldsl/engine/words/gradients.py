"""Gradients of the logit difference with respect to activations of the base runs.

For base i with activation a_i (k, d) at the site, and source activation s_i::

    gradient      = mean over i and positions of   d LD_i / d a_i
    attribution   = mean over i of the sum over positions of   d LD_i / d a_i * (s_i - a_i)

A gradient is what the model would do for a small step; attribution is a first-order guess of what
patching one neuron does. Both only propose: effects are measured by patching.
"""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import logits_of
from causaldsl.engine.edits import Edit
from causaldsl.engine.registry import evaluates
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.session import Session, stack
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.subspaces import BestNeurons, Gradient

_AT_ONCE = 64
"""Prompts whose forward passes are remembered together for the backward pass."""


@evaluates(Gradient)
def gradient(session: Session, operation: Operation) -> SubspaceValue:
    mean = _gradients(session, operation).mean((0, 1))
    if mean.norm() == 0:
        raise RunFailure(
            f"the mean gradient at {operation.at} is zero",
            "the answer may not depend on this site; choose another one",
        )
    return SubspaceValue(mean[:, None])


@evaluates(BestNeurons)
def best_neurons(session: Session, operation: Operation) -> SubspaceValue:
    word = operation.word
    assert isinstance(word, BestNeurons)
    backend = session.plan.backends[operation.key]
    base, source = (
        stack(session.runs(operation.given(side), backend).read(operation.at_site)).cpu().double()
        for side in ("base", "source")
    )
    attribution = (_gradients(session, operation) * (source - base)).sum(1).mean(0)
    best = attribution.abs().argsort(descending=True, stable=True)[: word.k]
    vectors = torch.zeros(len(attribution), word.k, dtype=torch.float64)
    vectors[best, torch.arange(word.k)] = 1
    return SubspaceValue(vectors)


def _gradients(session: Session, operation: Operation) -> Tensor:
    """Gradient of each base's logit difference, (n, k, d), in the order of the pairs.

    Made once for a site and pairs, whatever words ask for it.
    """
    base = operation.given("base")
    backend = session.plan.backends[operation.key]
    bases = session.runs(base, backend)

    def make() -> Tensor:
        parts = [_of_group(session, operation, bases, group) for group in bases.groups]
        return stack(bases.by_pair(parts))

    gradients: Tensor = session.cached(f"gradient {base} {operation.at}", make)
    return gradients


def _of_group(session: Session, operation: Operation, bases: PromptRuns, group: Group) -> Tensor:
    """Gradients (n, k, d) for the prompts of a group."""
    retrying = session.retrying(bases.backend.name)

    def make(pieces: int) -> Tensor:
        rows = torch.arange(len(group.rows)).split(max(1, _AT_ONCE // pieces))
        found = [_of_rows(session, operation, bases, group, some) for some in rows]
        return torch.cat([part.cpu().double() for part in found])

    return retrying.in_pieces(make)


def _of_rows(
    session: Session, operation: Operation, bases: PromptRuns, group: Group, rows: Tensor
) -> Tensor:
    """Gradients (n, k, d) for some prompts of a group: with respect to zeros that are added."""
    at, pairs = operation.at_site, bases.pairs.pairs
    chosen = [pairs[row] for row in group.rows[rows].tolist()]
    columns = torch.tensor([[p.answer, p.foil] for p in chosen], device=session.loaded.device)
    like = bases.read(at)[0]
    with torch.enable_grad():
        positions = group.positions[at][rows]
        nothing = like.new_zeros(*positions.shape, like.shape[-1]).requires_grad_()
        edit = Edit(at.site, positions, nothing, add=True)
        logits = logits_of(bases.backend, group.clean, [edit], columns, rows)
        (found,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), nothing)
    return found
