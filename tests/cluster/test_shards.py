"""A run in shards, made by several workers in this process, against the run as a whole.

In float64, so that what another batch rounds otherwise lies below 1e-9.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from causaldsl import api
from causaldsl.cluster import coordinate
from causaldsl.cluster.shards import Shard, shards_of
from causaldsl.cluster.where import Workers
from causaldsl.cluster.worker import Ended, Job, Worker
from causaldsl.content_store import ContentStore
from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.engine.kept.values import Kept
from causaldsl.engine.words import runs
from causaldsl.graph.operations import PatchedRunWord
from causaldsl.plan.entries import expected_backend
from causaldsl.plan.numerics import numerics_of
from causaldsl.plan.planner import make_plan
from causaldsl.plan.settings import Settings
from tests.cluster.same import apart
from tests.engine.statements import STATEMENTS
from tests.engine.test_elsewhere import PROGRAMS
from tests.frontend.world import PRELUDE, make_world

ARMS = (
    PRELUDE
    + """
site h = mlp_hidden[2] @ END
site out = resid_post[1] @ {S2, END}
subspace w = mean_difference(h, ABB, BAB, on: flip.train)
run corrupt = base with steer h along w by 2
measure m on flip.test {
  a = patch h along w
  none = steer h along w by 0
  both = ablate h to zero along w + patch resid_post[3] @ END
  by_mean = ablate out to mean
  other = ablate out to resample
  loud = ablate h to noise by 2
  from_run = patch resid_post[3] @ END from corrupt
  by_number = steer h along w by 2 * norm(w)
  by_path = h -> resid_post[3] @ END -> logits { freeze all  layernorm recompute }
  report logit_diff, kl
}
sweep s on flip.test { for l in 0..3: patch resid_post[l] @ END report logit_diff }
measure zeros on flip.test { gone = ablate mlp_out[1] @ END to zero  report logit_diff }
expect m.a.logit_diff < 100
"""
)
NAMED = (
    PRELUDE
    + """
pairs two = ioi ABB <- {x: BAB, y: CDC} { test 12 }
pairs more = ioi ABB -> BAB { test 12  seed 3 }
measure m on two.test {
  x = patch resid_post[1] @ END from x
  y = patch resid_post[1] @ END from y
  both = patch mlp_out[0] @ S2 from x + patch head[1.2].z @ END from y
  more = patch resid_post[1] @ END from more.test.source
  report logit_diff
}
"""
)
ALL = {**PROGRAMS, "arms": ARMS, "named": NAMED, **STATEMENTS}
BY_PAIR = {
    "attributed": set[str](),
    "of_edges": set[str](),
    "of_nodes": set[str](),
    "written": set[str](),
    "of_features": {"patched", "some", "best", "learned", "gone", "pushed", "other"},
    "learned": {"a", "b", "c"},
    "arms": {"a", "none", "from_run", "by_number"},
}
"""The arms of `m` that are cut by pairs: a circuit's outside is several changes."""


class Here:
    """Workers of this process, one shard after the other; ``lose`` says which are lost."""

    doing = "here"

    def __init__(self, workers: Workers, job: Job, lose: Callable[[], bool]):
        self.workers = [Worker(job) for _ in range(workers.count)]
        self.queue: list[Shard] = []
        self.made: list[Shard] = []
        self.lose = lose

    def give(self, shards: Sequence[Shard]) -> None:
        self.queue += shards

    def ended(self) -> list[Ended]:
        shard = self.queue.pop(0)
        worker = self.workers[len(self.made) % len(self.workers)]
        if self.lose():
            return [Ended(shard, lost="it was lost")]
        self.made.append(shard)
        return [worker.make(shard)]


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The last pool, and what it does."""
    about: dict[str, Any] = {"lose": lambda: False}

    @contextmanager
    def here(workers: Workers, job: Job) -> Iterator[Here]:
        about["pool"] = Here(workers, job, about["lose"])
        yield about["pool"]
        for worker in about["pool"].workers:
            worker.close()

    monkeypatch.setitem(coordinate.POOLS, "ray", here)
    return about


def world_of(folder: Path, programs: Mapping[str, str] = ALL) -> Path:
    """A folder with these programs and all that they name."""
    make_world(folder)
    for name, text in programs.items():
        (folder / f"{name}.cpatch").write_text(text)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world_of(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def whole(world: Path) -> Callable[[str], api.Run]:
    """A run in one process, made once."""
    made: dict[str, api.Run] = {}

    def run(name: str) -> api.Run:
        if name not in made:
            made[name] = api.run(world / f"{name}.cpatch", store="none", dtype="float64")
        return made[name]

    return run


def check_cover(kept: Kept, shards: Sequence[Shard], todo: set[str]) -> None:
    """Every operation is made once: as a whole, or for each of its pairs."""
    count: Counter[tuple[str, int]] = Counter()
    for shard in shards:
        for key in shard.keys:
            count.update((key, row) for row in range(*_rows(shard)))
    assert set(count.values()) == {1}
    assert {key for key, _ in count} == todo
    by_pair = [shard for shard in shards if shard.rows is not None]
    for shard in by_pair:
        assert shard.rows is not None
        of_key = [row for key, row in count if key == shard.keys[-1]]
        assert sorted(of_key) == list(range(len(kept.graph.pairs[shard.rows.pairs])))


def _rows(shard: Shard) -> tuple[int, int]:
    return (0, 1) if shard.rows is None else (shard.rows.begin, shard.rows.end)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ALL)
def test_every_operation_is_in_one_shard(
    name: str, count: int, world: Path, tmp_path: Path
) -> None:
    compiled = api.compile(world / f"{name}.cpatch")
    model, graph, settings = compiled.program.model, compiled.graph, Settings()
    assert model is not None
    plan = make_plan(graph, expected_backend(model.shapes), model.shapes)
    kept = Kept(ContentStore(tmp_path), numerics_of(settings, model), graph, plan)
    todo = {key for key in kept.made if kept.keeps(key)}
    shards = shards_of(kept, count)
    check_cover(kept, shards, todo)
    small = shards_of(kept, count, most=3)  # fewer than the pairs: every arm by itself
    check_cover(kept, small, todo)
    cut = [shard for shard in small if shard.rows is not None]
    assert all(len(s.keys) * (_rows(s)[1] - _rows(s)[0]) <= 3 or len(s.keys) == 1 for s in cut)
    uncut = name in ("of_nodes", "written")  # attributions have exact runs, by pair
    assert bool(cut) == (count > 1 and not uncut)
    arms = {key for s in cut for key in s.keys if _is_run(graph.operation(key).word)}
    if name in BY_PAIR and count > 1 and "m" in compiled.program.measurements:
        names = {arm.role: arm.key for arm in graph.operation(graph.key_of("m")).arms}
        of_pair = {role for role, key in names.items() if key in arms}
        assert of_pair == BY_PAIR[name]


def _is_run(word: object) -> bool:
    return isinstance(word, PatchedRunWord)


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", ALL)
def test_workers_find_what_one_process_finds(
    name: str,
    count: int,
    world: Path,
    whole: Callable[[str], api.Run],
    tmp_path: Path,
    pools: dict[str, Any],
) -> None:
    workers = Workers("ray", count)
    found = api.run(world / f"{name}.cpatch", store=tmp_path, workers=workers, dtype="float64")
    assert list(apart(whole(name), found, 1e-9)) == []
    if BY_PAIR.get(name) != set():
        assert len({shard.rows for shard in pools["pool"].made}) > count
    assert found.reused[0] == 0
    assert found.reused[0] < found.reused[1]
    again = api.run(world / f"{name}.cpatch", store=tmp_path, workers=workers, dtype="float64")
    assert again.reused == (found.reused[1], found.reused[1])
    assert list(apart(found, again, 0)) == []


def test_a_shard_that_is_lost_is_made_again_and_no_other(
    world: Path, whole: Callable[[str], api.Run], tmp_path: Path, pools: dict[str, Any]
) -> None:
    chance = random.Random(0)
    pools["lose"] = lambda: chance.random() < 0.3
    found = api.run(
        world / "arms.cpatch", store=tmp_path, workers=Workers("ray", 3), dtype="float64"
    )
    assert list(apart(whole("arms"), found, 1e-9)) == []
    made = Counter(pools["pool"].made)
    assert set(made.values()) == {1}
    pools["lose"] = lambda: True
    with pytest.raises(RunFailure, match="lost 4 times; the last time: it was lost"):
        api.run(world / "arms.cpatch", store=tmp_path / "2", workers=Workers("ray", 3))


def test_a_failure_of_the_run_is_said_as_it_is(
    world: Path, tmp_path: Path, pools: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "causaldsl.engine.outcomes._largest", lambda logits, clean: [0.0] * len(logits)
    )
    with pytest.raises(RunFailure, match="changed the activation but no logit"):
        api.run(world / "arms.cpatch", store=tmp_path, workers=Workers("ray", 2))


def test_what_a_kept_value_was_made_from_is_in_no_shard_by_pair(
    world: Path, tmp_path: Path, pools: dict[str, Any]
) -> None:
    """The direction is kept; its pairs' clean run is not, and a later measure takes that."""
    made = PRELUDE + "site h = mlp_hidden[2] @ END\n"
    made += "subspace w = mean_difference(h, ABB, BAB, on: flip.train)\n"
    path = world / "kept.cpatch"
    path.write_text(made + "measure a on flip.test { x = steer h along w by 2  report kl }\n")
    api.run(path, store=tmp_path, dtype="float64")
    made += "measure a on flip.test { x = patch h along w  report kl }\n"
    path.write_text(made + "measure b on flip.train { x = patch h  report kl }\n")
    whole = api.run(path, store="none", dtype="float64")
    found = api.run(path, store=tmp_path, dtype="float64", workers=Workers("ray", 2))
    assert list(apart(whole, found, 1e-9)) == []


def test_effects_on_some_pairs_are_joined() -> None:
    one, other = runs.Effect("h", 1, 0.0, False), runs.Effect("h", 2, 3.0, True)
    assert one.joined(other) == runs.Effect("h", 3, 3.0, True)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"on": "rya"}, "did you mean `ray`"),
        ({"on": "slurm:there"}, "did you mean `slurm"),
        ({"on": "ray", "count": 0}, None),
        ({"on": "slurm", "gpus": 0.5}, None),
        ({"on": "ray", "gpus": -1}, None),
        ({"on": "ray", "patience": 0}, "give seconds"),
    ],
)
def test_workers_that_can_not_be_are_refused(given: dict[str, Any], reason: str | None) -> None:
    with pytest.raises(Mistake) as caught:
        Workers(**given)
    assert reason is None or reason in str(caught.value.help)


def test_a_store_that_workers_do_not_see_is_an_error(
    world: Path, tmp_path: Path, pools: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def nowhere(store: ContentStore) -> Iterator[str]:
        yield ".nothing"

    with monkeypatch.context() as patch:
        patch.setattr(coordinate, "_beacon", nowhere)
        with pytest.raises(RunFailure, match="does not see the store"):
            api.run(world / "arms.cpatch", store=tmp_path, workers=Workers("ray", 2))
    monkeypatch.setattr(Kept, "identity", property(lambda kept: str(id(kept))))
    with pytest.raises(RunFailure, match="would compute other numbers"):
        api.run(world / "arms.cpatch", store=tmp_path, workers=Workers("ray", 2))


def test_without_a_store_nothing_is_left(
    world: Path, tmp_path: Path, pools: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = api.run(world / "arms.cpatch", store="none", workers=Workers("ray", 2))
    assert found.reused[0] == 0
    assert list(tmp_path.iterdir()) == []
