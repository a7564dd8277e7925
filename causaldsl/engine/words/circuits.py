"""The area under a sweep over circuits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from causaldsl.engine.drawn import absolute, combined, minus, monotone
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.vocabulary.circuits import Area


@evaluates(Area)
def area(here: Here[Area], of: list[float]) -> float:
    """Trapezoids from the smallest circuit on; the whole model is faithful to itself."""
    points = sorted(zip(here.word.shares, of, strict=True), key=lambda point: point[0])
    operand = here.session.graph.operation(here.operation.inputs_as("of")[0])
    if points[-1][0] < 1 and operand.word.measured == "faithfulness":
        points.append((1.0, 1.0))
    shares, heights = [share for share, _ in points], [height for _, height in points]
    if (to := here.word.to) is not None:
        heights = [absolute(combined(float(h) - to, [h, to], minus)) for h in heights]
    weights = _weights(shares)

    def total(*parts: Tensor) -> Tensor:
        return torch.stack([w * part for w, part in zip(weights, parts, strict=True)]).sum(0)

    found = sum(w * float(h) for w, h in zip(weights, heights, strict=True))
    return combined(found, heights, monotone(total))


def _weights(shares: Sequence[float]) -> list[float]:
    """What each height is multiplied by: half the way to both its neighbours."""
    left = [0.0, *(b - a for a, b in itertools.pairwise(shares))]
    return [(a + b) / 2 for a, b in zip(left, [*left[1:], 0.0], strict=True)]
