"""Gradients of the logit difference with respect to activations of the base runs.

For base i with activation a_i (k, d) at the site, and source activation s_i::

    gradient      = mean over i and positions of   d LD_i / d a_i
    attribution   = mean over i of the sum over positions of   d LD_i / d a_i * (s_i - a_i)

A gradient is what the model would do for a small step; attribution is a first-order guess of what
patching one neuron does. Both only propose: effects are measured by patching.
"""

from __future__ import annotations

import torch

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.vocabulary.learned import BestNeurons, Gradient


@evaluates(Gradient)
def gradient(here: Here[Gradient]) -> SubspaceValue:
    mean = torch.cat(here.gradients()).mean(0)
    if mean.norm() == 0:
        raise RunFailure(
            f"the mean gradient at {here.at} is zero",
            "the answer may not depend on this site; choose another one",
        )
    return SubspaceValue(mean[:, None])


@evaluates(BestNeurons)
def best_neurons(here: Here[BestNeurons]) -> SubspaceValue:
    change = here.stacked("source") - here.stacked("base")
    attribution = (torch.stack(here.gradients()) * change).sum(1).mean(0)
    best = attribution.abs().argsort(descending=True, stable=True)[: here.word.k]
    vectors = torch.zeros(len(attribution), here.word.k, dtype=torch.float64)
    vectors[best, torch.arange(here.word.k)] = 1
    return SubspaceValue(vectors)
