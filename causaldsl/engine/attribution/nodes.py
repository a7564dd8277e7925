"""Estimates of what patching each site does, by the gradient of a metric.

For pair i, a site S with values b in the base and s in the source, and the metric m::

    estimate_S,i = (s - b) . mean over t of  dm/dx_S (run at t)        t = 0, 1/n, .., (n - 1)/n

One step is the gradient of the base run (attribution patching: Nanda 2023; Syed et al. 2023, arXiv
2310.10348). With several (integrated gradients, Hanna et al. 2024, arXiv 2403.17806), the run at t
is the base's with something moved a share t of the way to the source's: the token embeddings
(``inputs``), or the values of S and of the sites of its kind in its layer at its positions
(``activations``). It is positive where the patch should raise the metric: an estimate of
m(base with S patched) - m(base), and exact only where the metric is linear in between.

The features a of a dictionary are such values, each a site of its own. A step of feature j moves
what the dictionary writes by its row of the decoder (undoing the norm of the x that they are of),
and what the dictionary leaves of x stays as it is::

    dm/da_j = dm/dx . W_dec[j]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from causaldsl.engine.attribution.gradients import Arm, Back, Changes, Rows, by_group
from causaldsl.engine.dictionaries.edits import columns_of
from causaldsl.engine.dictionaries.load import code_of
from causaldsl.engine.here import Here
from causaldsl.engine.upcast import upcast
from causaldsl.graph.operations import SiteAt
from causaldsl.plan.attributed import EMBEDDED, together
from causaldsl.plan.chunks import GRADIENT_ROWS, chunked
from causaldsl.plan.virtual import edited, read_for
from causaldsl.vocabulary.attributions import AttributionWord


def node_estimates(here: Here[AttributionWord]) -> Tensor:
    """The estimates (n, c) of all pairs, c for the operation's places in order; a place that is
    split by neuron has a column for each, and a dictionary's one for each feature."""
    places = here.operation.to
    moved = here.word.steps > 1 and here.word.integrate == "inputs"
    taken = [*places, EMBEDDED] if moved else places
    return by_group(here, taken, partial(_estimates, places))


def _estimates(places: Sequence[SiteAt], some: Rows, changes: Changes) -> Tensor:
    """The estimates (n, c) of some pairs."""
    word, everyone = some.here.word, torch.arange(len(some.rows))
    change = {at: changes(at, everyone) for at in places}
    total = dict.fromkeys(places, torch.zeros(()))
    for alike, back in _runs(some, change, changes):
        for at in alike:
            product = _gradient(some, at, back) * change[at]
            by_neuron = word.neurons and at.site.kind == "mlp_hidden"
            alone = by_neuron or at.site.dictionary is not None
            own = product.sum(1) if alone else product.sum((1, 2))[:, None]
            total[at] = total[at] + own.cpu().double()
    return torch.cat([total[at] for at in places], 1) / word.steps


def _runs(
    some: Rows, change: Mapping[SiteAt, Tensor], changes: Changes
) -> Iterator[tuple[Sequence[SiteAt], Back]]:
    """What is found on the way back of every run, with the places whose gradients it has."""
    steps, n, places = some.here.word.steps, len(some.rows), list(change)
    yield places, some.back([_arm(places)])[0]
    shares = [step / steps for step in range(1, steps)]
    if steps > 1 and some.here.word.integrate == "inputs":
        embedded = changes(EMBEDDED, torch.arange(n))
        for share in shares:
            yield places, some.back([_arm(places, {EMBEDDED: share * embedded})])[0]
        return
    runs = [(alike, share) for alike in together(change) for share in shares]
    for chosen in chunked(len(runs), n, GRADIENT_ROWS):
        arms = []
        for alike, share in (runs[i] for i in chosen):
            moved: dict[SiteAt, Tensor] = {}
            for at in alike:
                step = share * _written(some, at, change[at])
                moved[edited(at)] = moved[edited(at)] + step if edited(at) in moved else step
            arms.append(_arm(alike, moved))
        for i, back in zip(chosen, some.back(arms), strict=True):
            yield runs[i][0], back


def _arm(places: Sequence[SiteAt], moved: Mapping[SiteAt, Tensor] | None = None) -> Arm:
    """Gradients where these places are written; of features, also what they are read from if that
    is the same."""
    seen = [edited(at) for at in places if at.site.dictionary is not None]
    at = list(dict.fromkeys(map(edited, places)))
    return Arm(at, moved or {}, list(dict.fromkeys(seen)))


def _gradient(some: Rows, at: SiteAt, back: Back) -> Tensor:
    """The gradient (n, k, d) with respect to the values at a place."""
    gradient = upcast(back.gradients[edited(at)])
    if at.site.dictionary is None:
        return gradient
    session = some.here.session
    code, columns = code_of(session, at.site.dictionary), columns_of(at.site, session)
    rows = code.rows if columns is None else code.rows[columns]
    return code.sized(upcast(back.seen[edited(at)]), gradient) @ rows.T


def _written(some: Rows, at: SiteAt, change: Tensor) -> Tensor:
    """How a change (n, k, d) of the values at a place moves what is written there."""
    if at.site.dictionary is None:
        return change
    session = some.here.session
    code, columns = code_of(session, at.site.dictionary), columns_of(at.site, session)
    return code.moved(upcast(some.clean(read_for(at)[0])), change, columns)
