"""Arithmetic beside the model's own: what edges and dictionaries multiply, position by position.

With stream width d, head width h, and of the ends of edges H that are heads; for a dictionary that
reads d_in and writes d_out, of F features that are encoded and c that are changed::

    edges estimated   2 d (edges + H h)                       in each run with gradients
    edges run         2 d (receivers x senders so far + H h)  the former by the stream that is read
    features          2 d_in F to encode, 2 c d_out to write, or to carry a gradient back
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import Operation, SiteAt
from causaldsl.graph.whole import everywhere
from causaldsl.model.edges import Wiring, count_before
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan.circuits import stream_of
from causaldsl.plan.rules import places_changed_in
from causaldsl.vocabulary.attributions import AttributionWord
from causaldsl.vocabulary.base import SIDES
from causaldsl.vocabulary.dictionaries import Explained

Flops = Counter[SiteAt]
"""FLOPs of each position of a prompt, by the place whose positions these are."""
_EVERYWHERE = everywhere(Site("embed"))


def of_values(graph: Graph, operation: Operation) -> Flops:
    """What an operation takes once: features of what clean runs recorded for it."""
    found: Flops = Counter()
    changes = [graph.operation(key) for key in operation.inputs_as("do")]
    for one in changes or [operation]:
        sides = sum(one.find(side) is not None for side in SIDES)
        for at in features_in(places_of(one)):
            found[at] += sides * _encoded(at.site)
            if isinstance(one.word, Explained):
                found[at] += _written(at.site)
            if changes and _is_transcoder(at.site):  # worked out from the clean run, before a pass
                found[at] += _encoded(at.site) + _written(at.site)
    return found


def of_pass(graph: Graph, operation: Operation, shapes: ModelDims) -> Flops:
    """What it takes in each of its passes."""
    word, found = operation.word, Counter[SiteAt]()
    if isinstance(word, AttributionWord) and word.senders:
        found[_EVERYWHERE] = _estimated(operation, word.senders, shapes)
    wiring = getattr(word, "edges", "")
    if wiring:
        found[_EVERYWHERE] = _run(Wiring.parse(wiring), shapes)
    changed = places_changed_in(graph, operation)
    for at in features_in(changed):
        if not _is_transcoder(at.site):
            found[at] += _encoded(at.site) + _written(at.site)
    for at in features_in([] if changed else places_of(operation)):
        trained = word.training(at.site.width(shapes)) is not None
        found[at] += (_encoded(at.site) + 2 * _written(at.site)) if trained else _written(at.site)
    return found


def _estimated(operation: Operation, senders: int, shapes: ModelDims) -> int:
    sites = [at.site for at in operation.to]
    sent = sites[:senders]
    edges = sum(count_before(sent, site, shapes) for site in sites[senders:])
    return 2 * shapes.d_model * (edges + _heads(sites) * shapes.d_head)


def _run(wiring: Wiring, shapes: ModelDims) -> int:
    by_receiver, sent = wiring.by_receiver(shapes), wiring.senders(shapes)
    rank = {site: i for i, site in enumerate(sent, 1)}
    rows: Counter[Site] = Counter()
    so_far: Counter[Site] = Counter()
    for receiver, own in by_receiver.items():
        last = stream_of(receiver, shapes)[-1]
        rows[last] += 1
        so_far[last] = max(so_far[last], *(rank[site] for site in own))
    products = sum(count * so_far[last] for last, count in rows.items())
    return 2 * shapes.d_model * (products + _heads([*sent, *by_receiver]) * shapes.d_head)


def _heads(sites: Iterable[Site]) -> int:
    return sum(site.head is not None for site in sites)


def places_of(operation: Operation) -> list[SiteAt]:
    """The places of an operation itself."""
    return [at for at in (operation.at, *operation.to) if at is not None]


def features_in(places: Iterable[SiteAt]) -> list[SiteAt]:
    """Those that are features of a dictionary."""
    return [at for at in places if at.site.dictionary is not None]


def _is_transcoder(site: Site) -> bool:
    return site.read != site.written


def _encoded(site: Site) -> int:
    assert site.dictionary is not None
    form = site.dictionary.form
    alone = site.numbers is not None and form.by_feature
    return 2 * form.d_in * (len(site.numbers or ()) if alone else form.features)


def _written(site: Site) -> int:
    assert site.dictionary is not None
    form = site.dictionary.form
    return 2 * form.d_out * (form.features if site.numbers is None else len(site.numbers))
