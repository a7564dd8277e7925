"""Circuits of nodes and of edges against brute force, in float64, on five families.

The oracle builds what each receiver reads as a sum over senders, puts that into a whole forward
pass of the Hugging Face module, and reads what the receiver, and then the component, makes of it.
"""

from __future__ import annotations

import random
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.engine.backend import CleanPass, logits_of
from causaldsl.engine.circuits import wired
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.graph.operations import SiteAt
from causaldsl.model.edges import Edge, all_edges, senders, wiring_of
from causaldsl.model.sites import Site
from causaldsl.plan.circuits import ALL
from tests import oracle
from tests.engine.conftest import Parties, parties
from tests.engine.test_backends import place
from tests.families.models import family_folder
from tests.tiny import FAMILIES, tiny_folder

CLOSE, CHANGED = 1e-9, 1e-6


@pytest.fixture(scope="module", params=[*FAMILIES, "qwen3"])
def trio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """Grouped queries (llama, qwen2, qwen3), parallel blocks (neox), norms of q and k (qwen3)."""
    folder, name = tmp_path_factory.mktemp("circuits"), request.param
    return parties((tiny_folder if name in FAMILIES else family_folder)(folder, name), name)


def read(trio: Parties, tokens: Tensor, site: Site) -> Tensor:
    return oracle.read(trio.oracle, tokens, place(site))


def written(sender: Site) -> Site:
    """Where what a sender adds to the stream is seen as such."""
    if sender.kind == "embed":
        return Site("resid_pre", 0)
    return sender.of_layer("head.out", sender.head) if sender.kind == "head.z" else sender


def stream_at(receiver: Site, trio: Parties) -> Site:
    if receiver.kind == "logits":
        return Site("resid_post", trio.shapes.n_layers - 1)
    sequential = receiver.kind == "mlp_in" and not trio.shapes.parallel
    return receiver.of_layer("resid_mid" if sequential else "resid_pre")


def seen_with(trio: Parties, edits: dict[Site, Tensor], site: Site) -> Tensor:
    """The activation at a site in a run of the bases in which others are set."""
    found: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        found.append(x.clone())
        return x

    done = [(place(at), lambda x, value=value: value) for at, value in edits.items()]
    with torch.no_grad():
        oracle.logits(trio.oracle, trio.base, [*done, (place(site), keep)])
    return found[0]


def brute(trio: Parties, inside: set[Edge], outside: dict[Site, Tensor]) -> Tensor:
    """Logits of a run on some edges; ``outside`` are the senders' values, as they are written."""
    shapes, values = trio.shapes, {}
    edges = all_edges(shapes)
    clean = {sender: read(trio, trio.base, written(sender)) for sender in senders(shapes)}

    def reads(receiver: Site) -> Tensor:
        stream = read(trio, trio.base, stream_at(receiver, trio))
        for edge in edges:
            if edge.receiver == receiver:
                sender = edge.sender
                new = values[sender] if edge in inside else outside[sender]
                stream = stream + new - clean[sender]
        return stream

    def input_of(receiver: Site) -> Tensor:
        return seen_with(trio, {stream_at(receiver, trio): reads(receiver)}, receiver)

    for sender in senders(shapes):
        if sender.kind == "embed":
            values[sender] = clean[sender]
        elif sender.kind == "mlp_out":
            receiver = sender.of_layer("mlp_in")
            values[sender] = seen_with(trio, {receiver: input_of(receiver)}, sender)
        else:
            group = shapes.n_heads // shapes.n_kv_heads
            owner = "head" if group == 1 else "kv_head"
            assert sender.head is not None
            its = [sender.of_layer("head.q", sender.head)]
            its += [sender.of_layer(f"{owner}.{part}", sender.head // group) for part in "kv"]
            inputs = {receiver: input_of(receiver) for receiver in its}
            values[sender] = seen_with(trio, inputs, written(sender))
    end = Site("logits")
    mixed = reads(end)
    with torch.no_grad():
        last = (place(stream_at(end, trio)), lambda x: mixed)
        return oracle.logits(trio.oracle, trio.base, [last])


def ours(trio: Parties, backend: str, inside: set[Edge], outside: dict[Site, Tensor]) -> Tensor:
    """The same by the engine's edits; ``outside`` are the senders' values where it sees them."""
    shapes, runs = trio.shapes, trio.backends[backend]
    whole, kept = wiring_of(None, shapes), wiring_of(inside, shapes)
    out = whole.without(kept)
    loaded = SimpleNamespace(spec=SimpleNamespace(shapes=shapes, name="tiny"))
    session: Any = SimpleNamespace(loaded=loaded, backends={"cone": trio.backends["cone"]})
    changes = [
        PreparedEdit(SiteAt(site=site, position=ALL), list(outside[site]), None)
        for sender in out.senders(shapes)
        for site in [Site("resid_pre", 0) if sender.kind == "embed" else sender]
    ]
    n, length = trio.base.shape
    every = torch.arange(length).expand(n, -1)
    group: Any = SimpleNamespace(positions=_Everywhere(every), rows=torch.arange(n), longest=length)
    edits: list[Edit] = [change.edit(group) for change in wired(session, str(out), changes)]
    at = [Read(edit.site, edit.positions) for edit in edits]
    clean = runs.clean(CleanPass(trio.base, edits_at=at))
    return logits_of(runs, clean, edits)


class _Everywhere(dict[Any, Tensor]):
    def __init__(self, positions: Tensor):
        super().__init__()
        self.every = positions

    def __missing__(self, key: Any) -> Tensor:
        return self.every


@cache
def some_edges(shapes: Any, share: float, seed: int) -> frozenset[Edge]:
    edges = all_edges(shapes)
    return frozenset(random.Random(seed).sample(edges, round(share * len(edges))))


def outsides(trio: Parties, what: str) -> tuple[dict[Site, Tensor], dict[Site, Tensor]]:
    """Outside values of the senders: as they are written to the stream, and where they are seen."""
    as_written, as_seen = {}, {}
    for sender in senders(trio.shapes):
        seen = Site("resid_pre", 0) if sender.kind == "embed" else sender
        for site, into in ((written(sender), as_written), (seen, as_seen)):
            value = read(trio, trio.source, site)
            if what == "mean":
                value = read(trio, trio.base, site).mean(0).expand_as(value)
            if what == "zero":
                value = torch.zeros_like(value)
            into[sender if into is as_written else site] = value
    return as_written, as_seen


@pytest.mark.parametrize(("share", "what"), [(0.5, "source"), (0.1, "mean"), (0.9, "zero")])
def test_edges_are_brute_force(trio: Parties, share: float, what: str) -> None:
    inside = set(some_edges(trio.shapes, share, seed=3))
    as_written, as_seen = outsides(trio, what)
    wanted = brute(trio, inside, as_written)
    assert ((wanted - trio.clean).abs().amax(1) > CHANGED).all()
    for backend in trio.backends:
        error = (ours(trio, backend, inside, as_seen) - wanted).abs().max()
        assert error < CLOSE, f"{backend}: {error:.3g}"


def test_no_edges_are_the_outside_run(trio: Parties) -> None:
    _, as_seen = outsides(trio, "source")
    wanted = oracle.logits(trio.oracle, trio.source)
    for backend in trio.backends:
        assert (ours(trio, backend, set(), as_seen) - wanted).abs().max() < CLOSE
