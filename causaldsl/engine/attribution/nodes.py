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

from causaldsl.engine.attribution.gradients import Arm, Rows
from causaldsl.engine.edits import Read
from causaldsl.engine.here import Here
from causaldsl.engine.runs import Group
from causaldsl.engine.upcast import upcast
from causaldsl.graph.operations import SiteAt
from causaldsl.plan.attributed import EMBEDDED, together
from causaldsl.plan.chunks import GRADIENT_ROWS, chunked
from causaldsl.vocabulary.attributions import AttributionWord

Changes = Mapping[SiteAt, Tensor]
"""s - b (n, k, d) of some pairs, by place."""


def node_estimates(here: Here[AttributionWord]) -> Tensor:
    """The estimates (n, c) of all pairs, c for the operation's places in order; a place that is
    split by neuron has a column for each."""
    runs, places = here.runs("base"), here.operation.to
    taken = list(places)
    if here.word.steps > 1 and here.word.integrate == "inputs":
        taken = list(dict.fromkeys([*places, EMBEDDED]))
    sources = {at: here.runs("source").read(at) for at in taken}
    done = 0

    def of_group(group: Group, pieces: int) -> Tensor:
        parts = []
        for rows in torch.arange(len(group.rows)).split(max(1, GRADIENT_ROWS // pieces)):
            here.session.progress("attribution", done + int(rows[0]), len(runs.prompts))
            some = Rows(here, runs, group, rows)
            changes = {at: _change(some, at, sources[at]) for at in taken}
            parts.append(_estimates(some, places, changes))
        return torch.cat(parts)

    retrying, found = here.session.retrying(here.backend), []
    for group in runs.groups:
        found.append(retrying.in_pieces(partial(of_group, group)))
        done += len(group.rows)
    return torch.cat(found)[runs.order]


def _change(some: Rows, at: SiteAt, source: Sequence[Tensor]) -> Tensor:
    """s - b (n, k, d), in single precision at least."""
    base = some.group.clean.read(Read(at.site, some.group.positions[at]))[some.rows]
    return upcast(torch.stack([source[row] for row in some.pairs])) - upcast(base)


def _estimates(some: Rows, places: Sequence[SiteAt], changes: Changes) -> Tensor:
    """The estimates (n, c) of some pairs."""
    word = some.here.word
    total = dict.fromkeys(places, torch.zeros(()))
    for gradients in _runs(some, places, changes):
        for at, gradient in gradients.items():
            product = upcast(gradient) * changes[at]
            by_neuron = word.neurons and at.site.kind == "mlp_hidden"
            own = product.sum(1) if by_neuron else product.sum((1, 2))[:, None]
            total[at] = total[at] + own.cpu().double()
    return torch.cat([total[at] for at in places], 1) / word.steps


def _runs(
    some: Rows, places: Sequence[SiteAt], changes: Changes
) -> Iterator[Mapping[SiteAt, Tensor]]:
    """The gradients at every place in each of the runs that it has one in."""
    steps, n = some.here.word.steps, len(some.rows)
    yield some.gradients([Arm(places)])[0]
    shares = [step / steps for step in range(1, steps)]
    if some.here.word.integrate == "inputs":
        for share in shares:
            yield some.gradients([Arm(places, {EMBEDDED: share * changes[EMBEDDED]})])[0]
        return
    arms = [
        Arm(alike, {at: share * changes[at] for at in alike})
        for alike in together(places)
        for share in shares
    ]
    for chosen in chunked(len(arms), n, GRADIENT_ROWS):
        yield from some.gradients([arms[i] for i in chosen])
