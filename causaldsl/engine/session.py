"""One run of one graph: the model, the clean runs, and the value of every operation so far."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.check.units import apart
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import Backend
from causaldsl.engine.bootstrap import Bootstrap
from causaldsl.engine.das import Checkpoints
from causaldsl.engine.memory.lifetimes import last_users
from causaldsl.engine.memory.retry import Retrying
from causaldsl.engine.memory.store import Store
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.weights.load import Loaded
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site
from causaldsl.plan.memory import BYTES, default_budget, kept
from causaldsl.plan.names import names_of, noted_of
from causaldsl.plan.needs import Needs
from causaldsl.plan.planner import Plan, make_plan
from causaldsl.plan.request import ANSWERS
from causaldsl.plan.settings import Progress, Settings


class Keeps(Protocol):
    """A store of results, as a session needs it (``kept/values.py``)."""

    made: set[str]
    """The operations that the run has to make."""
    found: dict[str, Any]
    problem: str
    """Why nothing more can be kept, if so."""
    readings: Any
    """Recorded activations (``kept/readings.py``)."""

    put: set[str]
    """The operations whose values this run has put there."""

    def reused(self, own: Collection[str] = ()) -> tuple[int, int]:
        """How many operations that take the model are there already, and of how many, without the
        run's own."""

    @property
    def mixed(self) -> bool:
        """Whether some of that was made in other passes than this run's."""

    @property
    def stopped(self) -> str:
        """What is kept of a run that is stopped here."""

    def restore(self, session: Session, key: str) -> Any:
        """The value of an operation in ``found``."""

    def keep(self, session: Session, keys: Sequence[str], values: Sequence[Any]) -> None:
        """Keep values that were made together, with what was said then."""

    def checkpoints(self, keys: Sequence[str]) -> Checkpoints:
        """Where what is done of these operations together is kept."""

    def precision(self) -> dict[str, Any] | None:
        """How far bfloat16 was from float32 (``precision.Precision``), if that was measured."""

    def keep_precision(self, plain: dict[str, Any]) -> None: ...


@dataclass
class Session:
    """Evaluates operations and remembers their values by key.

    ``backends`` holds those that can serve this model, by name; ``notes`` what a reader of the
    results should know, such as a fallback to the slower backend.
    """

    graph: Graph
    loaded: Loaded
    backends: dict[str, Backend]
    settings: Settings
    progress: Progress = lambda what, done, total: None
    notes: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    """How the training of each learned subspace went, by its key (``das.DasFit``)."""
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each probe was trained and tested on, by its key."""
    preferred: dict[str, tuple[int, int]] = field(default_factory=dict)
    """In how many of each measured pairs the clean model prefers the answer, and of how many."""
    precision: Any = None
    """How far a run in bfloat16 lies from float32 (``precision.Precision``)."""
    _clean: dict[tuple[str, str], PromptRuns] = field(default_factory=dict)
    _read: dict[tuple[str, str, SiteAt], list[Tensor]] = field(default_factory=dict)
    """What is recorded in clean runs that were not made."""
    measured: list[PairSet] = field(default_factory=list)
    """The sets of pairs that numbers with intervals are over, but inputs of a toy model."""
    _bootstraps: dict[str, Bootstrap] = field(default_factory=dict)
    kept: Keeps | None = None
    served: Mapping[str, str] | None = None
    """The backends of sets of sites, as an earlier run found them; None to ask the backends."""
    said: list[str] = field(default_factory=list)
    """Everything that is noted while operations are made, also what was noted before."""
    drew: list[str] = field(default_factory=list)
    """The digests of all pairs that are drawn from meanwhile."""

    def __post_init__(self) -> None:
        self.plan: Plan = make_plan(self.graph, self.backend_for, self.loaded.spec.shapes)
        budget = self.settings.memory
        if budget is None:
            budget = default_budget(self.loaded.room, shared=self.loaded.device == "cpu")
        self.store = Store(budget)
        self._done_after = last_users(self.graph, self.plan)
        self._retrying: dict[str, Retrying] = {}

    @cached_property
    def names(self) -> dict[str, str]:
        """What people call the operations, by key."""
        return names_of(self.graph)

    @cached_property
    def noted(self) -> dict[str, str]:
        """The names that notes call runs by."""
        return noted_of(self.graph, self.names)

    def backend_for(self, sites: Sequence[Site]) -> str:
        """The preferred backend if it serves all these sites, else the reference one."""
        if self.served is not None:
            return self.served[sites_text(sites)]
        first = self.settings.backend if self.settings.backend in self.backends else "hooks"
        missing = [site for site in sites if not self.backends[first].serves(site)]
        if not missing:
            return first
        if first != "hooks" and all(self.backends["hooks"].serves(site) for site in sites):
            note = f"{missing[0]} is run with the hooks backend: the {first} can't serve it"
            self.note(note)
            return "hooks"
        raise RunFailure(
            f"{missing[0]} has no hook in {self.loaded.spec.name}",
            f"`causaldsl sites {self.loaded.spec.name}` lists its sites",
        )

    def keep(self, keys: Sequence[str], values: Sequence[Any]) -> None:
        """Keep the values of operations that have been evaluated, and free what was last used."""
        self.values.update(zip(keys, values, strict=True))
        for key in keys:
            for done in self._done_after.get(key, ()):
                self._let_go(done)

    def runs(self, clean_key: str, backend: str) -> PromptRuns:
        """A clean run on a backend, made when first asked for."""
        if (clean_key, backend) not in self._clean:
            pairs, side = self.graph.pairs_of(clean_key), self.graph.operation(clean_key).side
            done, total = 0, len(pairs)
            what = f"clean {side} run of {pairs.name}"

            def tick(count: int) -> None:
                nonlocal done
                done += count
                self.progress(what, done, total)

            self.progress(what, 0, total)
            needs = self.plan.needs[clean_key, backend]
            self._clean[clean_key, backend] = PromptRuns(
                self.retrying(backend),
                pairs,
                side,
                needs,
                self.loaded.device,
                tick,
                self.store,
                self._kept_bytes(pairs, side, needs, backend),
            )
            if self.kept is not None:
                read = self._clean[clean_key, backend].read
                self.kept.readings.keep(self, clean_key, backend, read)
        return self._clean[clean_key, backend]

    def recorded(self, clean_key: str, backend: str, at: SiteAt) -> list[Tensor]:
        """What a clean run recorded, (k, d) for each pair in order.

        The run is not made where a store has all that is needed of it.
        """
        if self.kept is not None and (clean_key, backend) not in self._clean:
            place = (clean_key, backend, at)
            if place in self._read or self._read_again(place):
                return self._read[place]
        return self.runs(clean_key, backend).read(at)

    def _read_again(self, place: tuple[str, str, SiteAt]) -> bool:
        """Read something recorded from the store of results, if it is there.

        It stays for other words: as much as clean runs may, not what was read first.
        """
        assert self.kept is not None
        found: list[Tensor] | None = self.kept.readings.get(*place)
        if found is None:
            return False
        self._read[place] = [value.to(self.loaded.device) for value in found]
        while len(self._read) > 1 and _bytes_of(self._read) > self.store.resident_bytes:
            del self._read[next(iter(self._read))]
        return True

    def _kept_bytes(self, pairs: PairSet, side: str, needs: Needs, backend: str) -> int:
        """How much a clean run will keep."""
        shapes, dtype = self.loaded.spec.shapes, self.loaded.dtype_name
        prompts = pairs.side(side)
        if backend == "cone":
            return kept(needs, shapes, prompts, dtype).total
        # It runs everything again, and keeps what is read, and logits.
        columns = shapes.d_vocab if needs.vocabulary else ANSWERS
        logits = len(prompts) * columns * BYTES[dtype] if needs.logits else 0
        return kept(Needs(needs.reads), shapes, prompts, dtype).total + logits

    def retrying(self, backend: str) -> Retrying:
        """A backend that opens stored runs, and goes on when memory runs out."""
        if backend not in self._retrying:
            self._retrying[backend] = Retrying(self.backends[backend], self.store, self.note)
        return self._retrying[backend]

    def close(self) -> None:
        """Delete what was kept in files. What is asked for later is made anew."""
        if self.store.note:
            self.note(self.store.note)
        self._clean.clear()
        self._read.clear()
        self.store.close()

    def _let_go(self, key: str) -> None:
        """Free what no later operation needs: a clean run, or the values of an intervention."""
        if self.graph.operation(key).word.word != "clean_run":
            self.values.pop(key, None)  # it may not have been needed
            return
        for read in [read for read in self._read if read[0] == key]:
            del self._read[read]
        for place in [place for place in self._clean if place[0] == key]:
            self.store.drop(self._clean.pop(place))

    def note(self, text: str) -> None:
        """Something that a reader of the results should know, once."""
        self.said.append(text)
        if text not in self.notes:
            self.notes.append(text)

    def checkpoints(self, keys: Sequence[str]) -> Checkpoints | None:
        """Where what is done of these operations together is kept, if anywhere."""
        return None if self.kept is None else self.kept.checkpoints(keys)

    def cached(self, name: str, make: Callable[[], Any]) -> Any:
        """A by-product that several operations share."""
        if name not in self.values:
            self.values[name] = make()
        return self.values[name]

    def generator(self, seed: int, *labels: str) -> torch.Generator:
        """A seeded generator of its own for every use, so that order does not matter."""
        words = ":".join([str(seed + self.settings.seed), *labels])
        digest = hashlib.sha256(words.encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def bootstrap(self, pairs: PairSet) -> Bootstrap:
        """Draws of pairs: the same for every number on them, others for other pairs.

        Inputs of a toy model are not drawn from anything, so each is a unit.
        """
        self.drew.append(pairs.digest)
        if pairs.digest not in self._bootstraps:
            text = self.loaded.spec.shapes.text
            units = pairs.units if text else apart(len(pairs))
            generator = self.generator(0, "bootstrap", pairs.digest)
            made = Bootstrap(generator, self.settings.resamples, units, pairs.name)
            self._bootstraps[pairs.digest] = made
            self.measured += [pairs] if text else []
        return self._bootstraps[pairs.digest]


def _bytes_of(read: Mapping[Any, list[Tensor]]) -> int:
    return sum(value.nbytes for values in read.values() for value in values)


def sites_text(sites: Sequence[Site]) -> str:
    """A set of sites, as a store names it."""
    return ", ".join(map(str, sites))


def stack(values: list[Tensor]) -> Tensor:
    """(n, k, d) from the activations of n prompts, which must have equally many positions."""
    if len({value.shape for value in values}) > 1:
        raise RunFailure(
            "the prompts have different numbers of positions here, so they can't be averaged",
            "name a single position",
        )
    return torch.stack(values)
