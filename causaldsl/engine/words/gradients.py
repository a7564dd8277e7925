"""Gradients of the logit difference with respect to activations of the base runs.

For base i with activation a_i (k, d) at the site, and source activation s_i::

    gradient      = mean over i and positions of   d LD_i / d a_i
    attribution   = mean over i of the sum over positions of   d LD_i / d a_i * (s_i - a_i)

A gradient is what the model would do for a small step; attribution is a first-order guess of what
patching one neuron does. Both only propose: effects are measured by patching.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.subspace import SubspaceValue, unit_vectors
from causaldsl.engine.ties import said_of_tie, tie_at
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
    best = best_of(here, attribution, here.word.k, "neurons", str)
    return SubspaceValue(unit_vectors(best, here.width))


def best_of(
    here: Here[Any], scores: Tensor, count: int, what: str, name: Callable[[int], str]
) -> list[int]:
    """The coordinates with the largest scores (d,), whatever their sign, from the largest on.

    Of equal ones the first; a note says so where it matters. What has no score at all is no better
    than anything else without one: that it would be among them is refused.
    """
    called = here.session.names.get(here.key, here.word.word)
    known = int(scores.count_nonzero())
    if known < count:
        raise RunFailure(
            f"{called}: of {len(scores)} {what}, {known} have a score that is not 0, and {count} "
            "are asked for",
            f"choose at most {known} of them"
            if known
            else "name a site that differs between base and source, or other pairs",
        )
    order = scores.abs().argsort(descending=True, stable=True).tolist()
    tied = tie_at(scores.abs(), order, count, here.session.settings.dtype)
    if tied:
        here.note(said_of_tie(called, tied, name))
    return order[:count]
