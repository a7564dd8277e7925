"""Edges of a model: what a component writes, on its way to what another one reads.

The residual stream is a sum, so that the input of a component is a sum over all that was written
before it. Senders are ``embed`` (what enters the first block), a head's z as W_O carries it on, and
an MLP's output; receivers are a head's query, a key or value (one that heads share is one
receiver), what an MLP reads, and the logits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from causaldsl.diagnostics import Mistake
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site, all_sites, has_site
from causaldsl.vocabulary.sites import SITE_WORDS, SITES, listed

_STARTS = [word for word in SITE_WORDS.values() if word.edge == "start"]
_ENDS = [word for word in SITE_WORDS.values() if word.edge == "end"]
SENDERS = tuple(word.word for word in _STARTS)
RECEIVERS = tuple(word.word for word in _ENDS)


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
            (self.sender, SENDERS, f"starts at what is written: {listed(_STARTS)}"),
            (self.receiver, RECEIVERS, f"ends at what is read: {listed(_ENDS)}"),
        ):
            if site.kind not in kinds:
                start = site is self.sender
                message = f"an edge can't {'start' if start else 'end'} at {site}"
                raise Mistake("not-an-edge", message, f"it {does}")
            site.check(shapes)
        if not self.sender.before(self.receiver, shapes):
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
    sent = senders(shapes)
    return [
        Edge(sender, receiver)
        for receiver in receivers(shapes)
        for sender in sent[: count_before(sent, receiver, shapes)]
    ]


def count_before(sent: Sequence[Site], receiver: Site, shapes: ModelDims) -> int:
    """How many senders, which are in the order of the forward pass, reach a receiver: the first
    ones, since those of its own block that don't are the last before it."""
    return bisect_left(sent, True, key=lambda site: not site.before(receiver, shapes))


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


@dataclass(frozen=True)
class Wiring:
    """Some edges of a model: for each receiver that has any, its senders as bits of a number.

    Receivers and senders count in the order of :func:`receivers` and :func:`senders`.
    """

    masks: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return sum(mask.bit_count() for _, mask in self.masks)

    def without(self, other: Wiring) -> Wiring:
        """The edges that the other has not."""
        theirs = dict(other.masks)
        left = ((to, mask & ~theirs.get(to, 0)) for to, mask in self.masks)
        return Wiring(tuple((to, mask) for to, mask in left if mask))

    def senders(self, shapes: ModelDims) -> list[Site]:
        """The senders of any of them, in order."""
        joined = 0
        for _, mask in self.masks:
            joined |= mask
        return [site for i, site in enumerate(senders(shapes)) if joined >> i & 1]

    def by_receiver(self, shapes: ModelDims) -> dict[Site, list[Site]]:
        """The senders of each receiver that has any, all in order."""
        sent, received = senders(shapes), receivers(shapes)
        return {
            received[to]: [site for i, site in enumerate(sent) if mask >> i & 1]
            for to, mask in self.masks
        }

    def edges(self, shapes: ModelDims) -> Iterable[Edge]:
        for receiver, sent in self.by_receiver(shapes).items():
            for sender in sent:
                yield Edge(sender, receiver)

    def __str__(self) -> str:
        return " ".join(f"{to}:{mask:x}" for to, mask in self.masks)

    @classmethod
    def parse(cls, text: str) -> Wiring:
        """Some edges as they are written by ``str``."""
        parts = (part.partition(":") for part in text.split())
        return cls(tuple((int(to), int(mask, 16)) for to, _, mask in parts))


def wiring_of(edges: Iterable[Edge] | None, shapes: ModelDims) -> Wiring:
    """Some edges, or (None) all of the model's."""
    sent, received = senders(shapes), receivers(shapes)
    if edges is None:
        counts = [count_before(sent, site, shapes) for site in received]
        masks = [(to, (1 << count) - 1) for to, count in enumerate(counts)]
        return Wiring(tuple((to, mask) for to, mask in masks if mask))
    place, at = {s: i for i, s in enumerate(sent)}, {s: i for i, s in enumerate(received)}
    found: dict[int, int] = {}
    for edge in edges:
        to = at[edge.receiver]
        found[to] = found.get(to, 0) | 1 << place[edge.sender]
    return Wiring(tuple(sorted(found.items())))
