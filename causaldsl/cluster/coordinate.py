"""Hands the shards of a run to workers until the store has all of them.

What then makes the results is the run itself, which finds its values in the store: so there is one
way from numbers by pair to intervals and verdicts, wherever the numbers were made. What workers
could not keep there, the run makes itself.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import compress
from pathlib import Path
from typing import Protocol

from causaldsl.check.checked import CheckedProgram
from causaldsl.cluster.ray_pool import ray_pool
from causaldsl.cluster.shards import Shard, shards_of
from causaldsl.cluster.slices import joined
from causaldsl.cluster.slurm_pool import slurm_pool
from causaldsl.cluster.where import Workers
from causaldsl.cluster.worker import Ended, Job
from causaldsl.content_store import ContentStore
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.kept.values import Kept
from causaldsl.engine.registry import load_engines
from causaldsl.engine.words.runs import check_ran
from causaldsl.graph.graph import Graph
from causaldsl.plan.numerics import numerics_of
from causaldsl.plan.planner import plan_ahead
from causaldsl.plan.settings import Progress, Settings
from causaldsl.plan.sharing import Members
from causaldsl.process import clear_left_behind, mark
from causaldsl.vocabulary.register import PACKAGES

TRIES = 4
"""How often a shard is given out before the run gives up."""


class Pool(Protocol):
    """Workers, to which shards are given that can be made now."""

    def give(self, shards: Sequence[Shard]) -> None: ...

    def ended(self) -> Sequence[Ended]:
        """What has ended since it was asked last; waits a little for the first."""

    @property
    def doing(self) -> str:
        """What the workers are at, for people."""


OpenPool = Callable[[Workers, Job], AbstractContextManager[Pool]]
POOLS: dict[str, OpenPool] = {"ray": ray_pool, "slurm": slurm_pool}


def spread(
    program: CheckedProgram,
    graph: Graph,
    settings: Settings,
    store: ContentStore,
    workers: Workers,
    progress: Progress,
    own: Collection[str] = (),
) -> tuple[int, int]:
    """Have workers put into the store what it lacks of a run.

    Gives how many of the operations that take the model were there before, and of how many, without
    the run's ``own``, which earlier stages of it have made.

    Raises:
        RunFailure: if the run can't go on, or a shard is lost ``TRIES`` times.
        KeyboardInterrupt: with what is kept, if it is stopped; no worker is left.
    """
    model = program.model
    if model is None:
        raise RunFailure("the program names no model", 'add a line: model lm = "smollm2-135m"')
    load_engines(program.engines)
    plan = plan_ahead(graph, model.shapes, settings.backend)
    kept = Kept(store, numerics_of(settings, model), graph, plan)
    before, shards = kept.reused(own), shards_of(kept, workers.count)
    if not shards:
        return before
    with _beacon(store) as beacon:
        packages = {name: (words.version, words.code) for name, words in PACKAGES.items()}
        job = Job(
            program, graph, settings, store.folder, store.limit, beacon, kept.identity, packages
        )
        try:
            with POOLS[workers.kind](workers, job) as pool:
                _hand_out(shards, pool, kept, workers, progress)
        except KeyboardInterrupt:
            kept.look(graph.network)
            raise KeyboardInterrupt(kept.stopped) from None
    return before


def _hand_out(
    shards: Sequence[Shard], pool: Pool, kept: Kept, workers: Workers, progress: Progress
) -> None:
    """Give out every shard as soon as what it takes is there, and again if it is lost."""
    waiting, tries = list(shards), Counter(shards)
    missing = {key for shard in shards for key in shard.keys}
    parts = Parts(kept, shards)
    running, over = 0, 0
    while waiting or running:
        ready = [missing.isdisjoint(shard.after) for shard in waiting]
        pool.give(list(compress(waiting, ready)))
        running += sum(ready)
        waiting = [shard for shard, now in zip(waiting, ready, strict=True) if not now]
        progress(f"{workers.count} workers: {pool.doing}", over, len(shards))
        for end in pool.ended():
            running -= 1
            if end.failure is not None:
                raise RunFailure(*end.failure)
            if not end.lost:
                over += 1
                cut = end.shard.rows is not None
                missing.difference_update(parts.add(end) if cut else end.shard.keys)
                continue
            if tries[end.shard] >= TRIES:
                raise RunFailure(
                    f"{end.shard.what} was lost {TRIES} times; the last time: {end.lost.strip()}",
                    "what was finished is kept: the same command goes on from there",
                )
            tries[end.shard] += 1
            pool.give([end.shard])
            running += 1


class Parts:
    """What came of runs on some pairs, until that of all pairs is there and can be judged."""

    def __init__(self, kept: Kept, shards: Sequence[Shard]):
        self.kept = kept
        self.waits = Counter(shard.group for shard in shards if shard.rows is not None)
        self.ended: dict[Members, list[Ended]] = defaultdict(list)

    def add(self, end: Ended) -> Members:
        """Take a part; gives the operations that are whole by it, and now kept.

        Raises:
            RunFailure: as a run does that finds a change which was never made, or was lost.
        """
        group = end.shard.group
        self.ended[group].append(end)
        self.waits[group] -= 1
        if self.waits[group]:
            return ()
        ends = sorted(self.ended.pop(group), key=_begin)
        notes = dict.fromkeys(note for end in ends for note in end.notes)
        rows = ends[-1].shard.rows
        assert rows is not None
        ran = {
            key: joined([end.ran[key] for end in ends if key in end.ran], rows.end) for key in group
        }
        changed = {key: one for key, one in ran.items() if one[1]}
        check_ran(
            changed,
            self.kept.noted,
            lambda note: notes.update({note: None}),
        )
        self.kept.cut = True
        outcomes = {key: outcome for key, (outcome, _) in ran.items()}
        together = {key: outcomes[key] for key in changed}
        self.kept.keep_outcomes(together, list(notes))
        for key in outcomes.keys() - changed.keys():
            self.kept.keep_outcomes({key: outcomes[key]}, ())
        if self.kept.problem:
            raise RunFailure(self.kept.problem, "make room, or give another --store")
        return group


def _begin(end: Ended) -> int:
    return end.shard.rows.begin if end.shard.rows is not None else 0


@contextmanager
def _beacon(store: ContentStore) -> Iterator[str]:
    """A file in the store, by which a worker knows that it sees the same one."""
    name = f".{secrets.token_hex(8)}.{mark()}"
    store.folder.mkdir(parents=True, exist_ok=True)
    clear_left_behind(store.folder, ".*")
    (store.folder / name).touch()
    try:
        yield name
    finally:
        with suppress(OSError):
            (store.folder / name).unlink()


@contextmanager
def passing_store(beside: Path) -> Iterator[ContentStore]:
    """A store for one run that keeps nothing."""
    beside.mkdir(parents=True, exist_ok=True)
    clear_left_behind(beside, ".store.*")
    folder = Path(tempfile.mkdtemp(f".{mark()}", ".store.", beside))
    try:
        yield ContentStore(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
