"""What an attribution asks of the model: gradients at its places, and exact runs of a sample."""

from __future__ import annotations

from collections.abc import Iterable

from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import ARM, Operation, SiteAt
from causaldsl.graph.whole import everywhere
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan.entries import entry_of
from causaldsl.plan.request import ANSWERS, Asked, Request, plans, recorded, sites_of
from causaldsl.plan.virtual import edited
from causaldsl.vocabulary.attributions import AttributionWord
from causaldsl.vocabulary.base import SIDES

EMBEDDED = everywhere(Site("embed"))
"""What is moved where the inputs are."""


@plans(AttributionWord)
def attribution(graph: Graph, operation: Operation, shapes: ModelDims) -> Asked:
    """Both sides at every place; one way back for all of them, and those of further steps."""
    word, places = operation.word, operation.to
    assert isinstance(word, AttributionWord)
    kept = places
    if word.senders:
        sites = [at.site for at in places]
        kept = tuple(everywhere(stands_for(s, shapes)) for s in sites[: word.senders])
        read = [everywhere(read_by(site, shapes)) for site in sites[word.senders :]]
        places = (*(everywhere(stands_for(s, shapes)) for s in sites[word.senders :]), *read)
    groups = [_written(alike) for alike in together(places)]
    places = _written(places)
    base, source = (operation.input(side) for side in SIDES)
    metric = graph.vocabulary.metrics[word.metric]
    whole = metric.needs == "vocabulary"
    columns = None if whole else ANSWERS

    def back(edits: tuple[SiteAt, ...], times: int) -> Request:
        return Request(base, edits, columns=columns, backward=True, times=times)

    moved = (EMBEDDED,) if word.steps > 1 and word.integrate == "inputs" else ()
    requests = [back(_first(places, shapes), 1)]
    if moved:
        requests.append(back(moved, word.steps - 1))
    elif word.steps > 1:
        requests += [back(alike, word.steps - 1) for alike in groups]
    wanted = frozenset([word.metric] if whole else [])
    runs = {base: wanted}
    runs |= {one.key: wanted for one in operation.inputs if one.role.startswith(ARM)}
    return Asked(
        records=recorded([base, source], dict.fromkeys([*kept, *moved])),
        requests=tuple(requests),
        sites=tuple(dict.fromkeys(sites_of([*kept, *places, *moved]))),
        outcomes=runs,
    )


def stands_for(site: Site, shapes: ModelDims) -> Site:
    """Where an end of an edge is seen: what enters the first block, what the last norm reads."""
    if site.kind == "embed":
        return Site("resid_pre", 0)
    return Site("resid_post", shapes.n_layers - 1) if site.kind == "logits" else site


def read_by(site: Site, shapes: ModelDims) -> Site:
    """The residual stream that a receiver reads."""
    if site.kind == "logits":
        return stands_for(site, shapes)
    after = site.kind == "mlp_in" and not shapes.parallel
    return site.of_layer("resid_mid" if after else "resid_pre")


def together(places: Iterable[SiteAt]) -> list[list[SiteAt]]:
    """The places of one kind (of features, of one dictionary) in one layer at one position: they
    are moved together."""
    found: dict[object, list[SiteAt]] = {}
    for at in places:
        kind = (at.site.kind, at.site.dictionary, at.site.layer, at.position)
        found.setdefault(kind, []).append(at)
    return list(found.values())


def _written(places: Iterable[SiteAt]) -> tuple[SiteAt, ...]:
    """Where changes of these places are made."""
    return tuple(dict.fromkeys(map(edited, places)))


def _first(places: Iterable[SiteAt], shapes: ModelDims) -> tuple[SiteAt, ...]:
    """Where a pass starts that meets all places: the first site, at each of the positions.

    Sites further on need nothing of the clean run.
    """
    given = list(places)
    first = min(given, key=lambda at: entry_of(at.site, shapes.n_layers))
    found = {at.position: at.model_copy(update={"site": first.site}) for at in given}
    return tuple(found.values())
