"""Edges of a model: what a component writes, on its way to what another one reads.

The residual stream is a sum, so that the input of a component is a sum over all that was written
before it. Senders are ``embed`` (what enters the first block), a head's z as W_O carries it on, and
an MLP's output; receivers are a head's query, a key or value (one that heads share is one
receiver), what an MLP reads, and the logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from causaldsl.diagnostics import Mistake
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site, all_sites, has_site
from causaldsl.vocabulary.sites import SITES

SENDERS = ("embed", "head.z", "mlp_out")
RECEIVERS = ("head.q", "head.k", "kv_head.k", "head.v", "kv_head.v", "mlp_in", "logits")


@dataclass(frozen=True, order=True)
class Edge:
    """One sender's part of what one receiver reads."""

    sender: Site
    receiver: Site

    def __str__(self) -> str:
        return f"edge({self.sender}, {self.receiver})"

    def check(self, shapes: ModelDims) -> None:
        """Raise a :class:`Mistake` if this model has no such edge."""
        for site, kinds, does in (
            (self.sender, SENDERS, "starts at what is written: embed, head[l.h].z or mlp_out[l]"),
            (self.receiver, RECEIVERS, "ends at what is read: head[l.h].q, .k or .v, mlp_in[l] or "
             "logits"),
        ):  # fmt: skip
            if site.kind not in kinds:
                start = site is self.sender
                message = f"an edge can't {'start' if start else 'end'} at {site}"
                raise Mistake("not-an-edge", message, f"it {does}")
            site.check(shapes)
        if self.receiver.depth(shapes) <= self.sender.depth(shapes):
            message = f"{self.receiver} comes before {self.sender}, or beside it"
            raise Mistake("comes-before", message, "an edge goes from a component to a later one")


def senders(shapes: ModelDims) -> list[Site]:
    """Every sender, in the order of the forward pass."""
    return _of_kinds(SENDERS, shapes)


def receivers(shapes: ModelDims) -> list[Site]:
    """Every receiver, in the order of the forward pass."""
    return _of_kinds(RECEIVERS, shapes)


def all_edges(shapes: ModelDims) -> list[Edge]:
    """Every edge, by receiver and then by sender, in the order of the forward pass."""
    sent = [(site, site.depth(shapes)) for site in senders(shapes)]
    return [
        Edge(sender, receiver)
        for receiver in receivers(shapes)
        for sender, depth in sent
        if depth < receiver.depth(shapes)
    ]


def count_edges(shapes: ModelDims) -> int:
    """How many edges a model has, without making them."""
    depths = [site.depth(shapes) for site in senders(shapes)]
    return sum(
        sum(depth < receiver.depth(shapes) for depth in depths) for receiver in receivers(shapes)
    )


def without_edges(shapes: ModelDims) -> str:
    """Why the input of this model's components is no sum over edges; "" if it is."""
    form = shapes.form
    if not shapes.text:
        return f"{shapes.name} is a toy model without a residual stream"
    if form is None:
        return f"where {shapes.architecture} has its norms is not known here"
    for block in form.blocks:
        if block.after_attention is not None:
            return f"{shapes.name} norms the sum of its heads, so that one head's part is no term"
        if block.stream_mid is not None or block.stream_post is not None or block.skip_normed:
            return f"{shapes.name} norms its residual stream itself, so that it is no sum"
    return ""


def _of_kinds(kinds: Sequence[str], shapes: ModelDims) -> list[Site]:
    wanted = {kind for kind in kinds if has_site(shapes, SITES[kind])}
    return [site for site in all_sites(shapes) if site.kind in wanted]


def sorted_edges(edges: Iterable[Edge], shapes: ModelDims) -> list[Edge]:
    """Edges in the order of :func:`all_edges`."""
    return sorted(
        edges,
        key=lambda edge: [
            (*site.depth(shapes), site.kind, site.head or 0)
            for site in (edge.receiver, edge.sender)
        ],
    )
