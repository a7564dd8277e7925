"""Runs on some edges of the model alone: what each receiver reads is a sum of its own.

With y_s what a sender s writes in the run, o_s its outside value, and x the residual stream of the
run where a receiver r reads it::

    D_s = y_s - o_s,      x_r = x - sum over s with (s, r) outside the circuit of D_s

A head writes its z through W_O, times any multiplier. r's input is then its own norm and matrix of
x_r, computed here with the weights of the model, so that both backends run it by the same edits: at
a sender the run is listened to, at a receiver its input is put in. One forward pass makes all of
it, since each sender comes before its receivers. See Hanna, Pezzelle and Belinkov 2024
(arXiv 2403.17806), whose circuits are of such edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.cone.families import Unsupported
from causaldsl.engine.cone.linear import Linear
from causaldsl.engine.cone.weights import Decoder
from causaldsl.engine.edits import Edit
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.session import Session
from causaldsl.engine.transfer import placed
from causaldsl.engine.upcast import upcast
from causaldsl.model.edges import Wiring
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.plan.chunks import SENDERS_HELD
from causaldsl.plan.circuits import stream_of, wired_places, written_at


def wired(session: Session, edges: str, outside: Sequence[PreparedEdit]) -> list[PreparedEdit]:
    """The edits of a run on edges; ``outside`` has the values of the senders, where they are seen.

    Raises:
        RunFailure: where the weights of this model can't be read one by one.
    """
    shapes, wiring = session.loaded.spec.shapes, Wiring.parse(edges)
    wires = Wires(_decoder(session), shapes, wiring)
    values = {change.at.site: change for change in outside}
    listens = [_listening(change, wires) for change in outside]
    nothing = torch.zeros(1)
    others = [at for at in wired_places(wiring, shapes) if at.site not in values]
    return [*listens, *(_listening(PreparedEdit(at, nothing, None), wires) for at in others)]


def _listening(change: PreparedEdit, wires: Wires) -> PreparedEdit:
    form = partial(Listening, wires=wires)
    return replace(change, add=True, form=form, of="all that is outside the circuit")


def _decoder(session: Session) -> Decoder:
    """The weights one by one, from the cone, which has compared its logits with the module's."""
    try:
        found: ConeBackend = session.backends["cone"]  # type: ignore[assignment]
        return found.decoder
    except KeyError:
        pass
    try:
        made: Decoder = session.cached("weights one by one", partial(_read, session))
        return made
    except Unsupported as error:
        raise RunFailure(
            f"a circuit of edges can't be run on {session.loaded.spec.name}: {error}",
            "use a circuit of nodes: heads, mlps",
        ) from None


def _read(session: Session) -> Decoder:
    return ConeBackend(session.loaded.hf, session.loaded.spec.shapes).decoder


@dataclass(frozen=True)
class Listening(Edit):
    """Tell the wires of an activation, and put in what they make of it."""

    wires: Wires | None = field(default=None, compare=False)

    @property
    def spread(self) -> int:
        assert self.wires is not None
        return self.wires.spread

    def _changed(self, x: Tensor) -> Tensor:
        assert self.wires is not None
        return self.wires.heard(self.site, x, self.value).to(x)


class Wires:
    """What senders and streams were in the pass that is under way, and which edges are outside.

    A pass goes through the model from below, and the next one begins anew: what is kept is
    overwritten before it is used.
    """

    def __init__(self, decoder: Decoder, shapes: ModelDims, wiring: Wiring):
        self.decoder, self.shapes = decoder, shapes
        by_receiver = wiring.by_receiver(shapes)
        self.senders = wiring.senders(shapes)
        self.spread = -(-len(self.senders) // SENDERS_HELD)
        place = {site: i for i, site in enumerate(self.senders)}
        self._sender_at = {_seen_at(site): i for site, i in place.items()}
        self._written = {written_at(site, shapes): site for site in by_receiver}
        self._masks: dict[Site, tuple[list[Site], Tensor]] = {}
        """Of each stream's last part: the receivers of it, and their senders (r, s) as 0 and 1."""
        ready: dict[Site, list[Site]] = {}
        for receiver in by_receiver:
            ready.setdefault(stream_of(receiver, shapes)[-1], []).append(receiver)
        for last, here in ready.items():
            mask = torch.zeros(len(here), len(self.senders))
            for row, receiver in enumerate(here):
                mask[row, [place[sender] for sender in by_receiver[receiver]]] = 1
            # Senders come in the order of the pass: those behind the receivers are not there yet.
            count = 1 + max(place[s] for receiver in here for s in by_receiver[receiver])
            self._masks[last] = here, mask[:, :count]
        self._differences = torch.empty(0)
        self._streams: dict[Site, Tensor] = {}
        self._inputs: dict[Site, Tensor] = {}
        self._split: dict[int, tuple[Linear, Linear, Linear]] = {}

    def heard(self, site: Site, x: Tensor, outside: Tensor) -> Tensor:
        """The activation (n, T, d) of a site as it is to be, from what it is."""
        index = self._sender_at.get(site)
        if index is not None:
            self._keep(index, site, upcast(x) - upcast(outside.to(x)))
        if site.word.part == "stream" or site.kind == "attn_out":
            self._streams[site] = x
        if site in self._masks:
            self._sum(site)
        receiver = self._written.get(site)
        if receiver is None:
            return x
        stream = self._inputs.pop(receiver).to(x)
        return stream if receiver.kind == "logits" else self._read(receiver, stream)

    def _keep(self, index: int, site: Site, difference: Tensor) -> None:
        """What a sender writes more than its outside value does, in the stream."""
        if site.kind == "head.z":
            assert site.layer is not None
            assert site.head is not None
            block, d_head = self.decoder.blocks[site.layer], difference.shape[-1]
            weight = block.attention.out.weight[:, site.head * d_head : (site.head + 1) * d_head]
            weight = placed(upcast(weight), difference.device)
            difference = difference @ weight.T * block.multiplier
        form = (len(self.senders), *difference.shape)
        if self._differences.shape != form or index == 0:
            kept = self._differences
            same = kept.shape == form and kept.dtype == difference.dtype
            self._differences = kept.zero_() if same else difference.new_zeros(form)
        self._differences[index] = difference

    def _sum(self, last: Site) -> None:
        """What each receiver of this stream reads."""
        receivers, mask = self._masks[last]
        parts = stream_of(receivers[0], self.shapes)
        stream = sum(upcast(self._streams[part]) for part in parts)
        some = self._differences[: mask.shape[1]]
        outside = (mask.to(some) @ some.flatten(1)).unflatten(1, some.shape[1:])
        self._inputs |= zip(receivers, stream - outside, strict=True)

    def _read(self, receiver: Site, stream: Tensor) -> Tensor:
        """What a receiver makes of the stream: its norm, and a head's own rows of its matrix."""
        assert receiver.layer is not None
        block = self.decoder.blocks[receiver.layer]
        stream = placed(stream, block.device)
        if receiver.kind == "mlp_in":
            return stream if block.norm2 is None else block.norm2(stream)
        normed = stream if block.norm1 is None else block.norm1(stream)
        assert receiver.head is not None
        linear = self._linears(receiver.layer)["qkv".index(receiver.kind[-1])]
        d_head = block.attention.d_head
        rows = slice(receiver.head * d_head, (receiver.head + 1) * d_head)
        bias = None if linear.bias is None else linear.bias[rows]
        return F.linear(normed, linear.weight[rows], bias)

    def _linears(self, layer: int) -> tuple[Linear, Linear, Linear]:
        if layer not in self._split:
            self._split[layer] = self.decoder.blocks[layer].attention.qkv.split()
        return self._split[layer]


def _seen_at(sender: Site) -> Site:
    return Site("resid_pre", 0) if sender.kind == "embed" else sender
