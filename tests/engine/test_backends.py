"""Both backends against the oracle: every kind of site, whole and along subspaces, in float64."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from causaldsl.engine.backend import CleanPass, activations_of, logits_of
from causaldsl.engine.edits import Edit, Read, gather
from causaldsl.model.sites import Site
from tests import oracle
from tests.engine.conftest import LENGTH, Parties
from tests.families.words import kinds_of_sites

KINDS = [kind for kind in kinds_of_sites() if kind != "pattern"]
"""Patterns of attention are as wide as a prompt: see `test_attention.py`."""
END = LENGTH - 1
PLACES = {
    "end": [[END]] * 3,
    "before": [[2], [4], [3]],
    "several": [[1, 3, 5], [0, 2, END], [2, 3, 4]],
}
CLOSE, CHANGED = 1e-9, 1e-7


def site_of(trio: Parties, kind: str, layer: int = 1, head: int = 1) -> Site | None:
    if kind in ("embed", "logits"):
        return Site(kind)
    if kind == "resid_mid" and trio.shapes.parallel:
        return None
    if kind not in ("q", "k", "v", "z", "out"):
        return Site(kind, layer)
    grouped = trio.shapes.n_kv_heads != trio.shapes.n_heads
    owner = "kv_head" if grouped and kind in "kv" else "head"
    return Site(f"{owner}.{kind}", layer, head)


def place(site: Site) -> oracle.Place:
    return site.kind, site.layer, site.head


def basis_of(width: int, rank: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, rank, generator=generator, dtype=torch.float64))[0]


def by_hand(edit: Edit) -> oracle.Change:
    """The edit as the oracle needs it, on the whole activation, one prompt and token at a time."""

    def change(x: Tensor) -> Tensor:
        out = x.clone()
        for row, positions in enumerate(edit.positions.tolist()):
            for column, position in enumerate(positions):
                old, value = out[row, position].clone(), edit.value[row, column]
                if edit.add:
                    new = old + value
                elif edit.basis is None:
                    new = value
                else:
                    new = old + edit.basis @ edit.basis.T @ (value - old)
                out[row, position] = new
        return out

    return change


def source_value(trio: Parties, site: Site, positions: Tensor) -> Tensor:
    return gather(oracle.read(trio.oracle, trio.source, place(site)), positions)


def compare(trio: Parties, edits: list[Edit], thorough: bool = False) -> None:
    """Every backend gives the oracle's logits, and those are not the clean ones."""
    wanted = oracle.logits(trio.oracle, trio.base, [(place(e.site), by_hand(e)) for e in edits])
    assert ((wanted - trio.clean).abs().amax(1) > CHANGED).all()
    at = [Read(edit.site, edit.positions) for edit in edits]
    for name, backend in trio.backends.items():
        clean = backend.clean(CleanPass(trio.base, edits_at=at))
        error = (logits_of(backend, clean, edits) - wanted).abs().max()
        assert error < CLOSE, f"{name}: {error:.3g}"
        if thorough:
            columns, rows = torch.tensor([[3, 1], [0, 5], [7, 7]]), torch.tensor([2, 0])
            few = logits_of(backend, clean, edits, columns)
            assert (few - wanted.gather(1, columns)).abs().max() < CLOSE
            cut = [edit.take(rows) for edit in edits]
            some = logits_of(backend, clean, cut, columns[rows], rows=rows)
            assert (some - wanted.gather(1, columns)[rows]).abs().max() < CLOSE


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_patch(trio: Parties, kind: str, where: str) -> None:
    site = site_of(trio, kind)
    if site is None or (kind == "logits" and where != "end"):
        pytest.skip("no resid_mid in a parallel block; only the last logits are returned")
    positions = torch.tensor(PLACES[where])
    value = source_value(trio, site, positions)
    whole = Edit(site, positions, value)
    compare(trio, [whole], thorough=True)
    for rank in (1, 3):
        compare(trio, [replace(whole, basis=basis_of(value.shape[-1], rank))])


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("k", "v")])
def test_last_layer(trio: Parties, kind: str) -> None:
    site = site_of(trio, kind, trio.shapes.n_layers - 1)
    if site is None:
        pytest.skip("no resid_mid in a parallel block")
    positions = torch.tensor(PLACES["end"])
    compare(trio, [Edit(site, positions, source_value(trio, site, positions))])


@pytest.mark.parametrize("kind", KINDS)
def test_other_values(trio: Parties, kind: str) -> None:
    """Zero and mean ablation, steering."""
    site = site_of(trio, kind)
    if site is None:
        pytest.skip("no resid_mid in a parallel block")
    positions = torch.tensor(PLACES["end"])
    value = source_value(trio, site, positions)
    mean = value.mean(0, keepdim=True).expand_as(value)
    compare(trio, [Edit(site, positions, torch.zeros_like(value))])
    compare(trio, [Edit(site, positions, mean)])
    compare(trio, [Edit(site, positions, 0.3 * value, add=True)])


def test_several_edits(trio: Parties) -> None:
    """Joined edits act in the order of the forward pass, whatever the order they are given in."""
    kinds = ["mlp_out", "out", "z", "attn_out", "resid_post", "q", "v", "resid_pre"]
    if not trio.shapes.parallel:
        kinds.insert(3, "resid_mid")
    edits = []
    for index, kind in enumerate(kinds):
        for layer in (2, 1):
            site = site_of(trio, kind, layer, head=index % 2)
            assert site is not None
            positions = torch.tensor(PLACES[("end", "before", "several")[index % 3]])
            value = source_value(trio, site, positions)
            basis = basis_of(value.shape[-1], 2, seed=index) if index % 2 else None
            edits.append(Edit(site, positions, value, basis, add=index % 4 == 2))
    compare(trio, edits)
    for pair in list(pairwise(edits))[::3]:
        compare(trio, list(pair), thorough=True)


@pytest.mark.parametrize("kind", ["resid_post", "mlp_hidden", "out", "q", "resid_mid"])
def test_two_edits_at_one_site(trio: Parties, kind: str) -> None:
    """They act in the order given."""
    site = site_of(trio, kind)
    if site is None:
        pytest.skip("no resid_mid in a parallel block")
    positions = torch.tensor(PLACES["before"])
    value = source_value(trio, site, positions)
    first = Edit(site, positions, value, basis_of(value.shape[-1], 1))
    second = Edit(site, positions, value * 0.5, add=True)
    compare(trio, [first, second])
    compare(trio, [second, first])


@pytest.mark.parametrize("kind", KINDS)
def test_reads(trio: Parties, kind: str) -> None:
    site = site_of(trio, kind)
    if site is None:
        pytest.skip("no resid_mid in a parallel block")
    positions = torch.tensor(PLACES["several"])
    read = Read(site, positions)
    wanted = gather(oracle.read(trio.oracle, trio.base, place(site)), positions)
    for backend in trio.backends.values():
        got = backend.clean(CleanPass(trio.base, reads=[read])).read(read)
        assert got.shape == (*positions.shape, site.width(trio.shapes))
        assert (got - wanted).abs().max() < CLOSE


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "embed"])
def test_record(trio: Parties, kind: str) -> None:
    """Activations of an edited run; those left of the edit or below it are the clean ones."""
    site = site_of(trio, kind, layer=2)
    if site is None:
        pytest.skip("no resid_mid in a parallel block")
    cause = Site("resid_post", 1)
    at, positions = torch.tensor(PLACES["before"]), torch.tensor(PLACES["several"])
    edit = Edit(cause, at, source_value(trio, cause, at))
    read = Read(site, positions)
    seen: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    oracle.logits(trio.oracle, trio.base, [(place(cause), by_hand(edit)), (place(site), keep)])
    wanted = gather(seen[0], positions)
    for backend in trio.backends.values():
        clean = backend.clean(CleanPass(trio.base, edits_at=[Read(cause, at), read]))
        (got,) = activations_of(backend, clean, [edit], [read])
        assert (got - wanted).abs().max() < CLOSE


def test_without_edits(trio: Parties) -> None:
    for backend in trio.backends.values():
        clean = backend.clean(CleanPass(trio.base))
        assert (logits_of(backend, clean) - trio.clean).abs().max() < CLOSE
        rows = torch.tensor([1])
        assert (logits_of(backend, clean, rows=rows) - trio.clean[rows]).abs().max() < CLOSE
