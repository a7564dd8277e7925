"""What a worker does: it opens the model once, and makes shards of the run into the store."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from causaldsl.check.checked import CheckedProgram
from causaldsl.cluster.shards import Rows, Shard, given_to
from causaldsl.cluster.slices import run_slice, slice_session
from causaldsl.content_store import ContentStore
from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.engine.arithmetic import arithmetic
from causaldsl.engine.interpret import interpret_some
from causaldsl.engine.kept.values import Kept
from causaldsl.engine.memory.retry import NoRoom
from causaldsl.engine.open import open_session
from causaldsl.engine.session import Session
from causaldsl.engine.words.runs import Ran
from causaldsl.graph.graph import Graph
from causaldsl.model.catalog import ModelSpec, pulled
from causaldsl.plan.settings import Settings
from causaldsl.vocabulary.register import PACKAGES, code_digest


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know of a run.

    ``identity`` is what values depend on where the run was started (``Kept.identity``); ``beacon``
    a file in the store that a worker must see.
    """

    program: CheckedProgram
    graph: Graph
    settings: Settings
    store: Path
    limit: int
    beacon: str
    identity: str
    packages: Mapping[str, tuple[str, str]]
    """Version and code of the packages whose words it has, by their names."""
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Ended:
    """How a shard ended: well, with a ``failure`` of the run, or ``lost`` for a reason.

    What came of runs on some pairs is in ``ran``, and what was noted; all else is in the store.
    """

    shard: Shard
    ran: dict[str, Ran] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: tuple[str, str | None] | None = None
    lost: str = ""


@dataclass(eq=False)
class Worker:
    """One process. ``said`` counts its signs of life, ``doing`` is the last of them."""

    job: Job
    said: int = 0
    doing: str = "starting"
    opened: tuple[Session, Kept] | None = field(default=None, repr=False)
    slice: tuple[Rows, Session] | None = field(default=None, repr=False)
    """The pairs that it was at last, and their session with their clean runs."""

    def tell(self, what: str, done: int, total: int) -> None:
        self.said += 1
        self.doing = what

    def make(self, shard: Shard) -> Ended:
        """Make a shard into the store."""
        try:
            return self._make(shard)
        except NoRoom as error:
            return Ended(shard, lost=error.message)
        except (Mistake, RunFailure) as error:
            return Ended(shard, failure=(error.message, error.help))
        except Exception:
            return Ended(shard, lost=traceback.format_exc())

    def _make(self, shard: Shard) -> Ended:
        if self.job.threads is not None:
            torch.set_num_threads(self.job.threads)
        with arithmetic(self.job.settings):
            session, kept = self.opened = self.opened or self._open()
            kept.cut = not shard.whole
            kept.look(shard.after)
            end = Ended(shard)
            if shard.rows is None:
                interpret_some(session, kept.aim(shard.keys))
            else:
                end = self._of_rows(session, kept, shard, shard.rows)
            if kept.problem:
                raise RunFailure(kept.problem, "make room, or give another --store")
        # Clean runs stay, which the next shard may need; what interventions put there does not.
        session.values = {k: v for k, v in session.values.items() if kept.keeps(k)}
        return end

    def _of_rows(self, session: Session, kept: Kept, shard: Shard, rows: Rows) -> Ended:
        wanted = given_to(kept, shard.keys)
        interpret_some(session, kept.aim(wanted) | wanted)
        given = {key: v for key, v in session.values.items() if key in wanted}
        if self.slice is None or self.slice[0] != rows:
            self._close_slice()
            self.slice = rows, slice_session(session, rows)
        few = self.slice[1]
        ran, notes = run_slice(few, kept, shard.keys, given)
        few.values.clear()
        return Ended(shard, ran, notes)

    def _close_slice(self) -> None:
        if self.slice is not None:
            self.slice[1].close()
            self.slice = None

    def _open(self) -> tuple[Session, Kept]:
        job = self.job
        if not (job.store / job.beacon).is_file():
            raise RunFailure(
                f"a worker on {os.uname().nodename} does not see the store {job.store}",
                "give a folder on a disk that all machines share: --store DIR",
            )
        _check_packages(job.packages)
        program = replace(job.program, model=_here(job.program))
        store = ContentStore(job.store, job.limit)
        session = open_session(program, job.graph, job.settings, self.tell, store)
        assert isinstance(session.kept, Kept)
        if session.kept.identity != job.identity:
            raise _other("causaldsl, its libraries or its files of the model")
        return session, session.kept

    def close(self) -> None:
        self._close_slice()
        if self.opened is not None:
            self.opened[0].close()


def _other(what: str) -> RunFailure:
    where = f"a worker on {os.uname().nodename} would compute other numbers"
    return RunFailure(
        f"{where}: its {what} are not those of this machine", "install the same there"
    )


def _check_packages(packages: Mapping[str, tuple[str, str]]) -> None:
    """Words of packages are imported with the job; what `use` says of them is said here."""
    for name, (version, code) in packages.items():
        if name not in PACKAGES or code_digest(name) != code:
            raise _other(f"files of {name}")
        PACKAGES[name].version, PACKAGES[name].code = version, code


def _here(program: CheckedProgram) -> ModelSpec | None:
    """The program's model on the machine of the worker."""
    model = program.model
    if model is None or model.path is None or model.path.exists():
        return model
    return pulled(model, base=program.path.parent)
