"""Estimates of what patching each site does, by the gradient of a metric.

For pair i, a site S with values b in the base and s in the source, and the metric m::

    estimate_S,i = (s - b) . mean over t of  dm/dx_S (run at t)        t = 0, 1/n, .., (n - 1)/n

One step is the gradient of the base run (attribution patching: Nanda 2023; Syed et al. 2023, arXiv
2310.10348). With several (integrated gradients, Hanna et al. 2024, arXiv 2403.17806), the run at t
is the base's with something moved a share t of the way to the source's: the token embeddings
(``inputs``), or the values of S and of the sites of its kind in its layer at its positions
(``activations``). It is positive where the patch should raise the metric: an estimate of
m(base with S patched) - m(base), and exact only where the metric is linear in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from causaldsl.engine.attribution.gradients import Arm, Changes, Rows, by_group
from causaldsl.engine.here import Here
from causaldsl.engine.upcast import upcast
from causaldsl.graph.operations import SiteAt
from causaldsl.plan.attributed import EMBEDDED, together
from causaldsl.plan.chunks import GRADIENT_ROWS, chunked
from causaldsl.vocabulary.attributions import AttributionWord


def node_estimates(here: Here[AttributionWord]) -> Tensor:
    """The estimates (n, c) of all pairs, c for the operation's places in order; a place that is
    split by neuron has a column for each."""
    places = here.operation.to
    moved = here.word.steps > 1 and here.word.integrate == "inputs"
    taken = [*places, EMBEDDED] if moved else places
    return by_group(here, taken, partial(_estimates, places))


def _estimates(places: Sequence[SiteAt], some: Rows, changes: Changes) -> Tensor:
    """The estimates (n, c) of some pairs."""
    word, everyone = some.here.word, torch.arange(len(some.rows))
    change = {at: changes(at, everyone) for at in places}
    total = dict.fromkeys(places, torch.zeros(()))
    for gradients in _runs(some, change, changes):
        for at, gradient in gradients.items():
            product = upcast(gradient) * change[at]
            by_neuron = word.neurons and at.site.kind == "mlp_hidden"
            own = product.sum(1) if by_neuron else product.sum((1, 2))[:, None]
            total[at] = total[at] + own.cpu().double()
    return torch.cat([total[at] for at in places], 1) / word.steps


def _runs(
    some: Rows, change: Mapping[SiteAt, Tensor], changes: Changes
) -> Iterator[Mapping[SiteAt, Tensor]]:
    """The gradients at every place in each of the runs that it has one in."""
    steps, n = some.here.word.steps, len(some.rows)
    yield some.back([Arm(list(change))])[0].gradients
    shares = [step / steps for step in range(1, steps)]
    if steps > 1 and some.here.word.integrate == "inputs":
        embedded = changes(EMBEDDED, torch.arange(n))
        for share in shares:
            yield some.back([Arm(list(change), {EMBEDDED: share * embedded})])[0].gradients
        return
    arms = [
        Arm(alike, {at: share * change[at] for at in alike})
        for alike in together(change)
        for share in shares
    ]
    for chosen in chunked(len(arms), n, GRADIENT_ROWS):
        for back in some.back([arms[i] for i in chosen]):
            yield back.gradients
