"""Estimates of what patching each edge does: what a sender writes, times the gradient at a reader.

The input of a receiver is a sum over what was written before it. For pair i, with d_S (T, d) what
sender S writes into the stream in the source minus that in the base, and m the metric::

    estimate_{S -> R},i = d_S . mean over t of  J_R^T W_R^T (dm/dx_R)        (run at t)

x_R is what R reads (a query, a key, a value, the MLP's input; of the logits the stream itself), W_R
the matrix that makes it, and J_R the Jacobian of the norm before it, at the stream as it is in that
run. It is the first-order estimate of the path S -> R -> logits with all else held, norms anew
(Syed et al. 2023, arXiv 2310.10348; several steps: Hanna et al. 2024, arXiv 2403.17806).

Nothing is held by pair, edge and dimension at once: for a few pairs, d_S of all senders, and the
gradients of the receivers of one component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.attribution.gradients import Arm, Back, Rows, by_group
from causaldsl.engine.cone.families import Unsupported, read_decoder
from causaldsl.engine.cone.norms import Norm
from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.here import Here
from causaldsl.engine.transfer import placed
from causaldsl.engine.upcast import upcast
from causaldsl.engine.weights.load import Loaded
from causaldsl.engine.weights.matrices import matrix
from causaldsl.graph.operations import SiteAt
from causaldsl.graph.whole import everywhere
from causaldsl.model.edges import count_before
from causaldsl.model.sites import Site
from causaldsl.plan.attributed import EMBEDDED, read_by, stands_for
from causaldsl.vocabulary.attributions import AttributionWord

_NUMBERS = 2**24
"""Numbers of what senders write that are held at once: 64 MiB in single precision."""


def edge_estimates(here: Here[AttributionWord]) -> Tensor:
    """The estimates (n, c) of all pairs, by receiver and then by sender."""
    edges = _Edges(here)
    return by_group(here, edges.places, edges.of_rows)


class _Edges:
    """The edges of an attribution. Its operation has the senders first, then the receivers."""

    def __init__(self, here: Here[AttributionWord]):
        self.here, self.loaded = here, here.session.loaded
        self.shapes = self.loaded.spec.shapes
        self.decoder = _decoder(self.loaded, here)
        sites, count = [at.site for at in here.operation.to], here.word.senders
        self.senders = sites[:count]
        self.readers = [
            list(alike)
            for _, alike in groupby(sites[count:], lambda site: (site.layer, *_of(site)))
        ]
        """Receivers of one component, which read the same stream through the same norm."""
        moved = [EMBEDDED] if here.word.steps > 1 else []
        self.places = [*(everywhere(stands_for(s, self.shapes)) for s in self.senders), *moved]

    def of_rows(self, some: Rows, changes: Callable[[SiteAt, Tensor], Tensor]) -> Tensor:
        """The estimates (n, c) of some pairs; ``changes`` of a place and rows of these pairs."""
        everyone = torch.arange(len(some.rows))
        length = some.group.longest
        at_once = max(1, _NUMBERS // (len(self.senders) * length * self.shapes.d_model))
        total = torch.zeros(())
        for back in self._runs(some, changes):
            parts = []
            for rows in everyone.split(at_once):
                sent = self._sent(
                    {at: changes(at, rows) for at in self.places[: len(self.senders)]}
                )
                read = [self._products(alike, back, rows, sent) for alike in self.readers]
                parts.append(torch.cat(read, 1))
            total = total + torch.cat(parts)
        return total / self.here.word.steps

    def _runs(self, some: Rows, changes: Callable[[SiteAt, Tensor], Tensor]) -> Iterator[Back]:
        at = [everywhere(stands_for(s, self.shapes)) for alike in self.readers for s in alike]
        streams = {everywhere(read_by(alike[0], self.shapes)): None for alike in self.readers}
        steps, everyone = self.here.word.steps, torch.arange(len(some.rows))
        for step in range(steps):
            moved = {}
            if step:
                moved = {EMBEDDED: step / steps * changes(EMBEDDED, everyone)}
            (back,) = some.back([Arm(at, moved, list(streams))])
            yield back

    def _sent(self, changes: Mapping[SiteAt, Tensor]) -> Tensor:
        """What each sender writes into the stream in the source minus that in the base,
        (n, senders, T d)."""
        found = []
        for site in self.senders:
            change = changes[everywhere(stands_for(site, self.shapes))]
            if site.kind == "head.z":
                W_O = matrix(self.loaded, "W_O", site.layer, site.head)
                change = change @ upcast(W_O).to(change)
                change = change * self.decoder.blocks[site.layer or 0].multiplier
            found.append(change.flatten(1))
        return torch.stack(found, 1)

    def _products(self, alike: Sequence[Site], back: Back, rows: Tensor, sent: Tensor) -> Tensor:
        """The estimates (n, c) of all edges into the receivers of one component."""
        first = alike[0]
        wanted = [upcast(self._before_matrix(site, back, rows)) for site in alike]
        gradients = torch.stack(wanted)
        norm = self._norm(first)
        if norm is not None and first.layer is not None:
            stream = back.seen[everywhere(read_by(first, self.shapes))][rows]
            there = self.decoder.device(first.layer)
            found = _before_norm(norm, placed(stream, there), placed(gradients, there))
            gradients = placed(found, gradients.device)
        before = count_before(self.senders, first, self.shapes)
        products = gradients.flatten(2).transpose(0, 1) @ sent[:, :before].transpose(1, 2)
        return products.flatten(1).cpu().double()

    def _before_matrix(self, site: Site, back: Back, rows: Tensor) -> Tensor:
        """The gradient (n, T, d) with respect to what the matrix of a receiver reads."""
        gradient = back.gradients[everywhere(stands_for(site, self.shapes))][rows]
        if "head." not in site.kind:
            return gradient
        name = f"W_{site.kind[-1].upper()}"
        return gradient @ matrix(self.loaded, name, site.layer, site.head).T

    def _norm(self, site: Site) -> Norm | None:
        if site.layer is None:
            return None
        block = self.decoder.blocks[site.layer]
        return block.norm2 if site.kind == "mlp_in" else block.norm1


def _of(site: Site) -> tuple[str, ...]:
    """What tells apart the receivers of one layer that read different things."""
    return ("heads",) if "head." in site.kind else (site.kind,)


def _before_norm(norm: Norm, stream: Tensor, gradients: Tensor) -> Tensor:
    """Gradients (r, n, T, d) with respect to what a norm reads, (n, T, d), for those behind it."""
    with torch.enable_grad():
        x = stream.expand(len(gradients), *stream.shape).detach().requires_grad_()
        normed = norm(x)
        (found,) = torch.autograd.grad(normed, x, gradients.to(normed))
    return upcast(found)


def _decoder(loaded: Loaded, here: Here[AttributionWord]) -> Decoder:
    """The model's norms and multipliers."""
    cone = here.session.backends.get("cone")
    if cone is not None:
        decoder: Decoder = cone.decoder  # type: ignore[attr-defined]
        return decoder
    try:
        assert loaded.source is not None
        return read_decoder(loaded.source)
    except Unsupported as unsupported:
        raise RunFailure(
            f"edges of {loaded.spec.name} can't be attributed to: {unsupported.reason}",
            "attribute to its sites: leave out `edges`",
        ) from None
