"""What a worker does: it opens the model once, and makes shards of the run into the store."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.cluster.shards import Shard
from causaldsl.content_store import ContentStore
from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.engine.memory.retry import NoRoom
from causaldsl.graph.graph import Graph
from causaldsl.plan.settings import Settings


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
    threads: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a shard ended: well, with a ``failure`` of the run, or ``lost`` for a reason."""

    shard: Shard
    failure: tuple[str, str | None] | None = None
    lost: str = ""


@dataclass(eq=False)
class Worker:
    """One process. ``said`` counts its signs of life, ``doing`` is the last of them."""

    job: Job
    session: Any = None
    said: int = 0
    doing: str = "starting"
    kept: Any = field(default=None, repr=False)

    def tell(self, what: str, done: int, total: int) -> None:
        self.said += 1
        self.doing = what

    def make(self, shard: Shard) -> Ended:
        """Make a shard into the store."""
        try:
            self._make(shard)
        except NoRoom as error:
            return Ended(shard, lost=error.message)
        except (Mistake, RunFailure) as error:
            return Ended(shard, failure=(error.message, error.help))
        except Exception:
            return Ended(shard, lost=traceback.format_exc())
        return Ended(shard)

    def _make(self, shard: Shard) -> None:
        import torch

        from causaldsl.engine.arithmetic import arithmetic
        from causaldsl.engine.interpret import interpret_some

        if self.job.threads is not None:
            torch.set_num_threads(self.job.threads)
        with arithmetic(self.job.settings):
            if self.session is None:
                self._open()
            self.kept.cut = not shard.whole
            self.kept.look(shard.after)
            interpret_some(self.session, self.kept.aim(shard.keys))
            if self.kept.problem:
                raise RunFailure(self.kept.problem, "make room, or give another --store")
        # Clean runs stay, which the next shard may need; what interventions put there does not.
        values = self.session.values
        self.session.values = {k: v for k, v in values.items() if self.kept.keeps(k)}

    def _open(self) -> None:
        from causaldsl.engine.open import open_session

        job = self.job
        if not (job.store / job.beacon).is_file():
            raise RunFailure(
                f"a worker on {os.uname().nodename} does not see the store {job.store}",
                "give a folder on a disk that all machines share: --store DIR",
            )
        program = replace(job.program, model=_here(job.program))
        store = ContentStore(job.store, job.limit)
        self.session = open_session(program, job.graph, job.settings, self.tell, store)
        self.kept = self.session.kept
        if self.kept.identity != job.identity:
            raise RunFailure(
                f"a worker on {os.uname().nodename} would compute other numbers: its causaldsl, "
                "its libraries or its files of the model are not those of this machine",
                "install the same versions there",
            )

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def _here(program: CheckedProgram) -> Any:
    """The program's model on the machine of the worker."""
    from causaldsl.model.catalog import pull

    model = program.model
    if model is None or model.path is None or model.path.exists():
        return model
    found = pull(model.name, base=program.path.parent)
    return found.model_copy(update={"bos": model.bos, "dtype": model.dtype})
