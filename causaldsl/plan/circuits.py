"""Where a run on edges listens, and where it writes: beside its senders, at streams and inputs."""

from __future__ import annotations

from causaldsl.check.places import Point, PositionRef
from causaldsl.graph.operations import SiteAt
from causaldsl.model.edges import Wiring
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site

ALL = PositionRef(Point("all", 0))


def stream_of(receiver: Site, shapes: ModelDims) -> tuple[Site, ...]:
    """What the stream is the sum of, where a receiver reads it: resid_pre, and what attention adds
    before an MLP that reads after it. What the logits read is written at the last resid_post."""
    if receiver.kind == "logits":
        return (Site("resid_post", shapes.n_layers - 1),)
    before = receiver.of_layer("resid_pre")
    if receiver.kind == "mlp_in" and not shapes.parallel:
        return before, receiver.of_layer("attn_out")
    return (before,)


def written_at(receiver: Site, shapes: ModelDims) -> Site:
    """Where what a receiver reads is put in."""
    return stream_of(receiver, shapes)[0] if receiver.kind == "logits" else receiver


def wired_places(wiring: Wiring, shapes: ModelDims) -> list[SiteAt]:
    """All places, beside its senders, where a run on edges listens or writes."""
    found: dict[Site, None] = {}
    for receiver in wiring.by_receiver(shapes):
        found |= dict.fromkeys([*stream_of(receiver, shapes), written_at(receiver, shapes)])
    return [SiteAt(site=site, position=ALL) for site in found]
