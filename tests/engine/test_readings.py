"""Recorded activations are read from the store where that is sooner than making them again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from causaldsl.content_store import LIMIT, ContentStore
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.weights import load
from causaldsl.plan import readings
from tests.engine.test_store import found, run
from tests.frontend.world import PRELUDE, make_world
from tests.tiny import HIDDEN

READS = (
    PRELUDE
    + """
site h = mlp_hidden[2] @ END
subspace v = mean_difference(h, ABB, BAB, on: flip.train)
subspace u = mean_difference(resid_post[1] @ S2, ABB, BAB, on: flip.train)
table t { for s in 0..2: c = cos(random(h, seed: s), v) }
histogram seen on flip.test { hidden = v at h }
"""
)
EDITED = READS.replace(
    "v = mean_difference(h, ABB, BAB, on: flip.train)", "v = pca(h, on: flip.train)"
)
PATCHED = READS + "measure m on flip.test { a = patch h along v  report fldd }\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("readings"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What of the model was used: clean passes of how many prompts, and weights that were read."""
    counts: list[str] = []
    for owner, name in ((ConeBackend, "clean"), (load, "_module"), (load, "read_checkpoint")):
        before: Any = getattr(owner, name)

        def counted(*given: Any, _before: Any = before, _name: str = name, **more: Any) -> Any:
            counts.append(f"clean {len(given[1].tokens)}" if _name == "clean" else _name)
            return _before(*given, **more)

        monkeypatch.setattr(owner, name, counted)
    return counts


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a model that is large: these are made again sooner than a file is opened."""
    monkeypatch.setattr(readings, "SOONER", 1e-6)


def activations_in(folder: Path) -> list[Any]:
    records = ContentStore(folder).records()
    return [one for one in records if str(one.about().get("what")).startswith("activations")]


@pytest.mark.usefixtures("sooner")
def test_an_edit_of_what_is_read_makes_no_pass(
    world: Path, tmp_path: Path, made: list[str]
) -> None:
    alone, first = run(EDITED, world, "none"), run(READS, world, tmp_path)
    assert made.count("clean 8") == 2 * 2  # both sides to train on, with and without a store
    made.clear()
    again = run(EDITED, world, tmp_path)
    assert made == []
    assert found(again) == found(alone)
    assert found(again) != found(first)
    assert "beside others" in again.results.provenance["store"]


@pytest.mark.usefixtures("sooner")
def test_a_run_that_is_changed_is_made_and_its_source_is_read(
    world: Path, tmp_path: Path, made: list[str]
) -> None:
    alone = run(PATCHED, world, "none")
    run(READS + "subspace w = pca(h, on: flip.test)\n", world, tmp_path)
    made.clear()
    again = run(PATCHED, world, tmp_path)
    assert made.count("clean 6") == 1  # the bases
    assert "clean 8" not in made
    assert found(again) == found(alone)


@pytest.mark.usefixtures("sooner")
@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_what_is_damaged_is_made_again(
    damage: str, world: Path, tmp_path: Path, made: list[str]
) -> None:
    alone = run(EDITED, world, "none")
    run(READS, world, tmp_path)
    for record in activations_in(tmp_path):
        data = bytearray(record.path.read_bytes())
        data[-1] ^= 1
        record.path.write_bytes(data) if damage == "flipped" else record.path.unlink()
    made.clear()
    assert found(run(EDITED, world, tmp_path)) == found(alone)
    assert "clean 8" in made
    assert len(activations_in(tmp_path)) > 0  # put there anew
    made.clear()
    run(READS.replace("h, ABB, BAB", "h, BAB, ABB"), world, tmp_path)
    assert made == []


def test_nothing_is_kept_that_is_made_as_soon(world: Path, tmp_path: Path) -> None:
    run(READS, world, tmp_path)
    assert activations_in(tmp_path) == []


@pytest.mark.usefixtures("sooner")
def test_a_clean_run_takes_a_small_share_of_the_store(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 8 * HIDDEN * 4  # of one side's 8 prompts, in float32
    # Sites that are narrower than the MLP go first, and the pairs of the histogram are fewer.
    for share, count in ((1, 5), (LIMIT // size, 3), (math.inf, 0)):
        monkeypatch.setattr(readings, "SHARE", share)
        run(READS, world, tmp_path / str(share))
        assert len(activations_in(tmp_path / str(share))) == count


@pytest.mark.usefixtures("sooner")
def test_nothing_is_kept_of_texts_that_the_model_wrote(world: Path, tmp_path: Path) -> None:
    """A run of them is known by how they were sampled, which elsewhere may give other texts."""
    own = 'model lm = "tiny-llama"\nprompts own = sample(lm, n: 4, length: 5)\n'
    run(
        own + "subspace v = pca(resid_post[1] @ all, on: own)\nexpect abs(cos(v, v)) == 1",
        world,
        tmp_path,
    )
    assert not activations_in(tmp_path)
