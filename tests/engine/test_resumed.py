"""Attributions, circuits, texts, features and what is learned: kept, changed, stopped.

A second run finds the same bits and asks the model for nothing; a program with one part changed
finds what it finds without a store; a run that was stopped ends as one that was not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from causaldsl import api
from causaldsl.engine import unfinished
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words import generation
from causaldsl.plan import chunks
from tests.cluster.same import apart
from tests.engine.statements import CHANGED, STATEMENTS
from tests.engine.test_store import Seen, Stop, found, run, seen  # noqa: F401
from tests.frontend.world import PRELUDE, make_world

Filled = Callable[[str], tuple[Path, api.Run]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("resumed"))


@pytest.fixture(scope="module")
def filled(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A store with all of a statement's program in float64, and what the run found; made once."""
    made: dict[str, tuple[Path, api.Run]] = {}

    def fill(name: str) -> tuple[Path, api.Run]:
        if name not in made:
            store = tmp_path_factory.mktemp("filled")
            made[name] = store, run(STATEMENTS[name], world, store, dtype="float64")
        return made[name]

    return fill


def check_alone(text: str, first: api.Run, alone: api.Run) -> None:
    """What a run on an empty store found is what one without a store found: the same bits, if it
    makes no choice. What choices rest on is made before all else, and then comes from the store."""
    if "top(" in text:
        assert list(apart(alone, first, 1e-5)) == []
    else:
        assert found(first) == found(alone)


@pytest.mark.parametrize("backend", ["cone", pytest.param("hooks", marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_second_run_finds_the_same_bits_and_asks_the_model_for_nothing(
    name: str,
    backend: str,
    world: Path,
    tmp_path: Path,
    seen: Seen,  # noqa: F811
) -> None:
    text, choices = STATEMENTS[name], {"backend": backend}
    first = run(text, world, tmp_path, **choices)
    check_alone(text, first, run(text, world, "none", **choices))
    seen.passes = seen.weights = seen.trained = 0
    again = run(text, world, tmp_path, **choices)
    assert found(again) == found(first)
    assert (seen.passes, seen.weights, seen.trained) == (0, 0, 0)
    assert again.reused == (first.reused[1], first.reused[1])


def values(made: api.Run) -> Any:
    """Vectors, numbers by pair and texts, without what is said of how they were made."""
    _, subspaces, blocks = found(made)
    return subspaces, blocks, [one.texts for one in made.results.generations.values()]


@pytest.mark.parametrize(("name", "old", "new"), CHANGED)
def test_a_part_that_is_changed_is_made_anew(
    name: str, old: str, new: str, world: Path, tmp_path: Path, filled: Filled
) -> None:
    """To 1e-9 in float64: what is made anew goes through the model beside others."""
    assert STATEMENTS[name].count(old) == 1
    text, (store, before) = STATEMENTS[name].replace(old, new), filled(name)
    shutil.copytree(store, tmp_path / "store")
    made = run(text, world, tmp_path / "store", dtype="float64")
    assert list(apart(run(text, world, "none", dtype="float64"), made, 1e-9)) == []
    assert values(before) != values(made)


@pytest.mark.parametrize("name", STATEMENTS)
def test_another_seed_takes_nothing(name: str, world: Path, tmp_path: Path, filled: Filled) -> None:
    shutil.copytree(filled(name)[0], tmp_path / "store")
    made = run(STATEMENTS[name], world, tmp_path / "store", dtype="float64", seed=1)
    assert made.reused[0] == 0 or "top(" in STATEMENTS[name]  # it has chosen, in this store
    fresh = run(STATEMENTS[name], world, "none", dtype="float64", seed=1)
    assert list(apart(fresh, made, 1e-9)) == []


def test_other_files_of_the_same_name_and_size_take_nothing(world: Path, tmp_path: Path) -> None:
    """A dictionary's weights, and a circuit's edges."""
    shutil.copytree(world, tmp_path / "world")
    place, weights = tmp_path / "world", tmp_path / "world/sae/sae_weights.safetensors"
    text = PRELUDE + (
        'dictionary f = sae("sae") at resid_post[1]\n'
        'set c = read_circuit("c.json")\n'
        "measure m on flip.test {\n  x = patch f.features[0..9] @ END\n"
        "  kept = only c else source\n  report logit_diff\n}\n"
    )
    found: list[api.Run] = []
    for scale, chosen in ((1, "0.1"), (2, "0.1"), (1, "0.2")):
        tensors = load_file(weights)
        save_file({**tensors, "W_dec": tensors["W_dec"] * scale}, weights)
        written = (
            PRELUDE
            + f"measure m on flip.test {{ c = only {{{chosen}, mlps[2]}} else source report fldd }}"
        )
        run(written, place, "none", "w", out=tmp_path / "out")
        shutil.copy(tmp_path / "out/circuits/m.c.json", place / "c.json")
        shutil.rmtree(tmp_path / "out")
        made = run(text, place, tmp_path / "store", dtype="float64")
        fresh = run(text, place, "none", dtype="float64")
        assert list(apart(fresh, made, 1e-9)) == []
        found.append(made)
    arms = [one.results.measures["m"] for one in found]
    x, kept = ([arm[name]["logit_diff"].mean for arm in arms] for name in ("x", "kept"))
    assert x[0] != x[1] == x[2]
    assert kept[0] == kept[1] != kept[2]


def test_a_subspace_from_the_store_has_the_length_that_it_had(world: Path, tmp_path: Path) -> None:
    """A sum is rounded by how its numbers lie in memory."""
    text = PRELUDE + (
        "subspace v = das(resid_post[1] @ END, on: flip.train, dim: learned, most: 6, epochs: 3)\n"
    )
    first, again = (run(text, world, tmp_path, backend="hooks") for _ in range(2))
    assert first.results.subspaces["v"].norm == again.results.subspaces["v"].norm
    vectors = torch.randn(32, 3, dtype=torch.float64)
    assert SubspaceValue(vectors.T).vectors.is_contiguous()


@pytest.mark.parametrize("often", [False, pytest.param(True, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(
    name: str, often: bool, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at some of its writes to the store, before and behind the file's being there."""
    monkeypatch.setattr(unfinished, "EVERY", 0)
    monkeypatch.setattr(chunks.chunked, "__defaults__", (6,))
    monkeypatch.setattr(generation, "WRITTEN_TOGETHER", 5)
    text = STATEMENTS[name]
    before, writes, stop = os.replace, 0, 0

    def replace(old: Any, new: Any) -> None:
        nonlocal writes
        there = "/v1/" in str(new)
        writes += there
        if there and writes == stop:
            raise Stop
        before(old, new)

    monkeypatch.setattr(os, "replace", replace)
    whole = run(text, world, tmp_path / "whole")
    check_alone(text, whole, run(text, world, "none"))
    count = writes
    assert count > 4
    for at in range(1, count + 1) if often else (2, count // 2, count - 1):
        store, writes, stop = tmp_path / str(at), 0, at
        with pytest.raises(Stop):
            run(text, world, store)
        stop = 0
        assert found(run(text, world, store)) == found(whole), at
