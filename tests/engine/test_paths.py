"""Path patching on both backends against brute force, for every policy, in float64."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.engine.backend import CleanPass, activations_of, logits_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.model.sites import Site
from causaldsl.plan.freeze import Freeze
from tests import path_oracle
from tests.engine.conftest import LENGTH, Parties
from tests.engine.test_backends import basis_of, by_hand, place, site_of, source_value
from tests.path_oracle import Policy

END = LENGTH - 1
CLOSE, CHANGED = 1e-9, 1e-7
FREEZE = {"attention": (True, False), "mlp": (False, True), "all": (True, True), "none": (0, 0)}
POLICIES = [(name, norms) for name in FREEZE for norms in ("recompute", "frozen")]
# Senders at layer 0, along a subspace or whole; receivers above.
SENDERS = ["embed", "z", "out", "q", "mlp_in", "mlp_hidden", "mlp_out", "resid_post", "attn_out"]
HOPS = {
    "logits": [],
    "queries": [[("q", 2, 1), ("q", 3, 0)]],
    "keys": [[("k", 2, 1)]],
    "values": [[("v", 2, 0), ("v", 3, 1)]],
    "mlps": [[("mlp_in", 1, 0), ("mlp_in", 3, 0)]],
    "residual": [[("resid_pre", 2, 0)]],
    "mixed set": [[("q", 2, 1), ("mlp_in", 2, 0), ("v", 3, 0)]],
    "chain": [[("v", 1, 1)], [("q", 3, 2)]],
    "chain through an MLP": [[("mlp_in", 1, 0)], [("v", 2, 1)], [("q", 3, 0), ("mlp_in", 3, 0)]],
}
WHERE = {
    "end": ([[END]] * 3, [[END]] * 3),
    "before": ([[2], [4], [3]], [[4], [5], [3]]),
    "to the end": ([[2], [4], [3]], [[END]] * 3),
    "several": ([[1, 3, 5], [0, 2, END], [2, 3, 4]], [[5, END], [3, END], [4, 5]]),
}


def policy_of(name: str, norms: str) -> tuple[Policy, Freeze]:
    attention, mlp = map(bool, FREEZE[name])
    frozen = norms == "frozen"
    return Policy(attention, mlp, frozen), Freeze(attention, mlp, frozen)


def distance(got: Tensor, wanted: Tensor) -> float:
    """Largest error, relative where logits are large: held norms let activations explode."""
    return float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))


def path(
    backend: Any,
    tokens: Tensor,
    sender: list[Edit],
    hops: list[list[Read]],
    freeze: Freeze,
) -> Tensor:
    """As the interpreter does it: hop by hop, then a run with the last receivers' inputs set."""
    announced = [*(Read(e.site, e.positions) for e in sender), *itertools.chain(*hops)]
    clean = backend.clean(CleanPass(tokens, edits_at=announced, frozen=True))
    edits = sender
    for reads in hops:
        values = activations_of(backend, clean, edits, reads, hold=freeze)
        edits = [
            Edit(read.site, read.positions, value)
            for read, value in zip(reads, values, strict=True)
        ]
    return logits_of(backend, clean, edits, hold=None if hops else freeze)


def reads_of(trio: Parties, hops: list, positions: Tensor) -> list[list[Read]] | None:
    out = []
    for receivers in hops:
        sites = [site_of(trio, kind, layer, head) for kind, layer, head in receivers]
        if None in sites:
            return None
        out.append([Read(site, positions) for site in sites if site])
    return out


@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("sender", SENDERS)
def test_against_brute_force(trio: Parties, sender: str, hops: str) -> None:
    """Every sender and every receiver meets every policy somewhere in this square."""
    turn = SENDERS.index(sender) + list(HOPS).index(hops)
    check(trio, sender, hops, *POLICIES[turn % len(POLICIES)])


@pytest.mark.soak
@pytest.mark.parametrize(("freeze", "norms"), POLICIES)
@pytest.mark.parametrize("hops", HOPS)
@pytest.mark.parametrize("sender", SENDERS)
def test_every_policy(trio: Parties, sender: str, hops: str, freeze: str, norms: str) -> None:
    check(trio, sender, hops, freeze, norms)


def check(trio: Parties, sender: str, hops: str, freeze: str, norms: str) -> None:
    site = site_of(trio, sender, 0, 1)
    assert site is not None
    policy, held = policy_of(freeze, norms)
    # Not every place for every case: the cases go through the places in turn.
    names = list(WHERE)
    turn = SENDERS.index(sender) + list(HOPS).index(hops) + POLICIES.index((freeze, norms))
    for name in {names[turn % len(names)], "end"}:
        at, receivers_at = (torch.tensor(positions) for positions in WHERE[name])
        value = source_value(trio, site, at)
        basis = basis_of(value.shape[-1], 2) if turn % 2 else None
        edit = Edit(site, at, value, basis)
        reads = reads_of(trio, HOPS[hops], receivers_at)
        assert reads is not None
        wanted = path_oracle.path(
            trio.oracle,
            trio.base,
            [(place(site), by_hand(edit))],
            [[(place(read.site), read.positions) for read in hop] for hop in reads],
            policy,
        )
        for backend_name, backend in trio.backends.items():
            got = path(backend, trio.base, [edit], reads, held)
            error = distance(got, wanted)
            assert error < CLOSE, f"{backend_name}, {name}: {error:.3g}"
        if name == "end" and freeze == "none":
            assert (wanted - trio.clean).abs().max() > CHANGED


@pytest.mark.parametrize("norms", ["recompute", "frozen"])
def test_several_senders(trio: Parties, norms: str) -> None:
    """Heads of two layers and an MLP at once: no sender is undone by the freeze."""
    at = torch.tensor([[END]] * 3)
    sites = [Site("head.z", 0, 1), Site("head.z", 1, 2), Site("mlp_hidden", 1), Site("mlp_out", 0)]
    edits = [Edit(site, at, source_value(trio, site, at)) for site in sites]
    reads = reads_of(trio, [[("q", 3, 0), ("v", 2, 1)]], at)
    assert reads is not None
    for name in FREEZE:
        policy, held = policy_of(name, norms)
        wanted = path_oracle.path(
            trio.oracle,
            trio.base,
            [(place(e.site), by_hand(e)) for e in edits],
            [[(place(read.site), read.positions) for read in hop] for hop in reads],
            policy,
        )
        assert (wanted - trio.clean).abs().max() > CHANGED
        for backend in trio.backends.values():
            assert distance(path(backend, trio.base, edits, reads, held), wanted) < CLOSE


def test_nothing_frozen_is_the_total_effect(trio: Parties) -> None:
    at = torch.tensor(WHERE["before"][0])
    site = Site("head.z", 1, 2)
    edit = Edit(site, at, source_value(trio, site, at))
    for backend in trio.backends.values():
        direct = path(backend, trio.base, [edit], [], Freeze())
        clean = backend.clean(CleanPass(trio.base, edits_at=[Read(site, at)]))
        assert (direct - logits_of(backend, clean, [edit])).abs().max() < CLOSE
        assert (direct - trio.clean).abs().max() > CHANGED


def test_direct_effects_add_up(trio: Parties) -> None:
    """With everything frozen, norms too, logits are affine in what the senders write."""
    at = torch.tensor([[END]] * 3)
    freeze = Freeze(attention=True, mlp=True, norms=True)
    senders = [Site("head.z", layer, head) for layer in range(4) for head in range(4)]
    senders += [Site("mlp_out", layer) for layer in range(4)]
    edits = [Edit(site, at, source_value(trio, site, at)) for site in senders]
    embedded = Site("embed")
    edits.append(Edit(embedded, at, source_value(trio, embedded, at)))
    for backend in trio.backends.values():
        together = path(backend, trio.base, edits, [], freeze) - trio.clean
        apart = [path(backend, trio.base, [edit], [], freeze) - trio.clean for edit in edits]
        assert (torch.stack(apart).sum(0) - together).abs().max() < CLOSE
        assert together.abs().max() > CHANGED


def test_a_paths_receivers_add_up_to_their_set(trio: Parties) -> None:
    """The recorded inputs of a receiver don't depend on which others are in the set."""
    at = torch.tensor([[END]] * 3)
    site = Site("resid_post", 0)
    edit = Edit(site, at, source_value(trio, site, at))
    receivers = [Site("head.q", 2, 0), Site("head.q", 3, 1), Site("mlp_in", 2)]
    for backend in trio.backends.values():
        reads = [Read(receiver, at) for receiver in receivers]
        clean = backend.clean(CleanPass(trio.base, edits_at=[Read(site, at), *reads], frozen=True))
        freeze = Freeze(attention=True, mlp=True)
        joint = activations_of(backend, clean, [edit], reads, hold=freeze)
        for read, value in zip(reads, joint, strict=True):
            (alone,) = activations_of(backend, clean, [edit], [read], hold=freeze)
            assert (alone - value).abs().max() < CLOSE
