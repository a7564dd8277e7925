"""The values of one run's operations in a store: what is there, and what is put there.

The key of a value is that of all it depends on (``plan/numerics.py``) and of the code that computes
it. What went through the model together is one record. It is
believed as a whole or not at all, since float32 products round by what is multiplied together: so a
run that was stopped goes on with the same passes, and ends with the same bits.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causaldsl.content_store import ContentStore
from causaldsl.engine.kept.forms import Packed, fits, pack, packed_outcome, text_of, unpack
from causaldsl.engine.kept.needed import (
    lasts,
    of_model,
    opens_model,
    outcomes_taken,
    to_make,
)
from causaldsl.engine.kept.readings import Readings
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.session import Session, sites_text
from causaldsl.graph.graph import Graph
from causaldsl.model.sites import Site
from causaldsl.plan.keeping import used_by
from causaldsl.plan.names import names_of, noted_of, trainers
from causaldsl.plan.numerics import Numerics
from causaldsl.plan.planner import Plan
from causaldsl.version import VERSION

_NOT_COMPUTING = ("commands", "report", "studies")


@dataclass(frozen=True, eq=False)
class Found:
    """A value that is there: its form and what was kept in it."""

    form: str
    packed: Packed
    notes: tuple[str, ...]
    """What was said when it was made, together with others."""
    drew: tuple[str, ...]
    """The digests of the pairs that were drawn from then."""
    passes: str
    """Identifies the passes of the run that made it; "" if some of these were cut short."""


@dataclass(eq=False)
class Kept:
    """What a store has for the operations of a graph.

    ``made`` are those that the run has to make, ``problem`` why nothing more can be kept.
    """

    store: ContentStore
    numerics: Numerics
    graph: Graph
    plan: Plan
    found: dict[str, Found] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    put: set[str] = field(default_factory=set)
    """What was put there by this run."""
    problem: str = ""
    cut: bool = False
    """Whether passes are cut short, as where others make the rest of them."""

    def __post_init__(self) -> None:
        self.names = names_of(self.graph)
        self.readings = Readings(self)
        self._said_of = self._names_behind()
        self.passes = self._identify_passes()
        self._worth = {
            key
            for key in self.graph.network
            if of_model(self.graph, self.plan, key) and lasts(self.graph, self.plan, key)
        }
        self._by_key = {self._key([key]): key for key in self.graph.network if key in self._worth}
        self.look(self.graph.network)
        self.made = to_make(self.graph, self.plan, self.found)

    @property
    def identity(self) -> str:
        """Identifies what values depend on beside the operations: settings, model, code."""
        return self._key([])

    def keeps(self, key: str) -> bool:
        """Whether the value of an operation takes the model and stands in the results."""
        return key in self._worth

    def look(self, keys: Iterable[str]) -> None:
        """Find what the store has by now of these operations."""
        new = [key for key in keys if key in self._worth and key not in self.found]
        sought = [one for key in new for one in self._with(key) or [self._key([key])]]
        for said, data in self.store.get(sought):
            self.found |= self._read(said, data)

    def aim(self, wanted: Collection[str]) -> set[str]:
        """Make these operations alone. Gives them with all that they are made from."""
        self.made = to_make(self.graph, self.plan, self.found, wanted)
        taken = set[str]().union(*(outcomes_taken(self.graph, key) for key in self.made))
        # Else a clean run is made for others without its own outcome.
        self.made -= {
            key
            for key in self.made.intersection(self._worth).difference(wanted, taken)
            if self.graph.operation(key).word.large
        }
        return self.made.union(*(used_by(self.graph, self.plan, key) for key in self.made))

    @property
    def opens_model(self) -> bool:
        """Whether the run needs the model's weights."""
        opening = (key for key in self.made if opens_model(self.graph, self.plan, key))
        return not all(map(self.readings.only, opening))

    def reused(self, own: Collection[str] = ()) -> tuple[int, int]:
        """How many operations that take the model come from the store, and of how many.

        Those of the run's ``own`` are there because an earlier stage of it has made them.
        """
        made = self.made.intersection(self._worth)
        there = [key for key in self._worth if key in self.found]
        return len(set(there).difference(own)), len(there) + len(made)

    @property
    def mixed(self) -> bool:
        """Whether some of what is there went through the model in passes that are not this run's,
        so that last digits may be others."""
        others = any(found.passes != self.passes for found in self.found.values())
        return others or self.readings.elsewhere

    @property
    def stopped(self) -> str:
        there, whole = self.reused()
        count = there + len(self.put)
        return (
            f"stopped; {count} of {whole} operations are kept in {self.store.folder}: the same "
            "command goes on from there"
        )

    def restore(self, session: Session, key: str) -> Any:
        """The value of an operation that is there, with what was said when it was made."""
        found = self.found[key]
        for note in found.notes:
            session.note(note)
        for pairs in self.graph.pairs.values():
            for drawn in (pairs, pairs.original):
                if drawn is not None and drawn.digest in found.drew:
                    session.bootstrap(drawn)
        return unpack(session, self.graph.operation(key), found.form, found.packed)

    def keep(self, session: Session, keys: Sequence[str], values: Sequence[Any]) -> None:
        """Keep the values of operations that were made together, with what was said then."""
        both = [(k, v) for k, v in zip(keys, values, strict=True) if k in self._worth]
        packed = {k: pack(session, self.graph.operation(k), v) for k, v in both}
        made = {key: one for key, one in packed.items() if one is not None}
        self._keep(made, session.said, session.drew)
        if not self.problem:
            self.store.drop(self.checkpoints(keys).key)

    def keep_outcomes(self, outcomes: Mapping[str, Outcome], notes: Iterable[str]) -> None:
        """Keep the outcomes of runs of a pass, which others made in parts."""
        packed = {k: ("Outcome", packed_outcome(self.graph, v)) for k, v in outcomes.items()}
        self._keep({key: one for key, one in packed.items() if key in self._worth}, notes, ())

    def _keep(
        self, values: Mapping[str, tuple[str, Packed]], notes: Iterable[str], drew: Iterable[str]
    ) -> None:
        """Keep values that were made together, by their operations' keys, with their forms."""
        operations: list[dict[str, Any]] = []
        tensors: dict[str, Tensor] = {}
        for i, (key, packed) in enumerate(values.items()):
            tensors |= {f"{i}/{name}": part for name, part in packed[1].tensors.items()}
            said_of = self._said_of[key]
            operations.append(
                {"key": key, "said_of": said_of, "form": packed[0], "plain": packed[1].plain}
            )
        if operations:
            written = [str(one["key"]) for one in operations]
            what = f"{self.graph.operation(written[0]).label}"
            what += f", {len(written)} together" if len(written) > 1 else ""
            said = {"what": what, "operations": operations, "drew": sorted(set(drew))}
            said |= {"notes": list(dict.fromkeys(notes))}
            said |= {"passes": "" if self.mixed or self.cut else self.passes}
            own = [self._key([key]) for key in written]
            self._put([*own, *(one for key in written for one in self._with(key))], tensors, said)
            self.put |= set(written)

    def opening(self) -> dict[str, Any] | None:
        """What opening the model said in an earlier run, and the `backends` of sets of sites."""
        found = self._get(self._opening_key)
        return None if found is None else dict(found[1])

    def keep_opening(
        self, notes: Sequence[str], backend_of: Callable[[Sequence[Site]], str]
    ) -> None:
        backends = {sites_text(sites): backend_of(sites) for sites in self._sites}
        said = {"notes": list(notes), "backends": backends}
        self._put([self._opening_key], {}, {"what": "opening the model", "plain": said})

    def precision(self) -> dict[str, Any] | None:
        """The comparison with float32 of an earlier run (``precision.Precision``)."""
        found = self._get(self._precision_key)
        return None if found is None else dict(found[1])

    def keep_precision(self, plain: dict[str, Any]) -> None:
        self._put([self._precision_key], {}, {"what": "bfloat16 and float32", "plain": plain})

    def checkpoints(self, keys: Sequence[str]) -> Checkpoints:
        """Where what is done of these operations together is kept."""
        return Checkpoints(self, self._key([f"unfinished {' '.join(keys)}"]))  # in this order

    def key_of(self, what: str) -> str:
        """The key of something that is no operation's value."""
        return self._key([what])

    def tensors(self, key: str) -> tuple[dict[str, Tensor], str] | None:
        """What was put under a key, and what identifies the passes that it went through."""
        found = self._get(key)
        return None if found is None else (found[0], str(found[1]["passes"]))

    def put_tensors(self, key: str, what: str, tensors: Mapping[str, Tensor]) -> None:
        said = {"what": what, "plain": {"passes": "" if self.cut else self.passes}}
        self._put([key], tensors, said)

    @cached_property
    def _how(self) -> str:
        return self.numerics.key_of([]) + code_digest()

    def _key(self, operations: Iterable[str]) -> str:
        content = "\n".join([self._how, *sorted(operations)])
        return hashlib.sha256(content.encode()).hexdigest()

    def _with(self, key: str) -> list[str]:
        """Keys of a run with each of the metrics that need the whole vocabulary: a value that is
        there without them is no answer, and one with others does not take its place."""
        return [self._key([f"{key} {name}"]) for name in sorted(self.plan.outcomes.get(key, ()))]

    def _identify_passes(self) -> str:
        """Of all that asks something of the model, what is wanted of each run, and what rounds."""
        asked, wanted = self.plan.asked, self.plan.outcomes
        asking = [key for key, one in asked.items() if one.records or one.requests or key in wanted]
        runs = [f"{key} {sorted(wanted.get(key, ()))}" for key in asking]
        return self._key([*runs, _rounding(self.numerics.device)])

    @cached_property
    def noted(self) -> dict[str, str]:
        """The names that notes call runs by."""
        return noted_of(self.graph, self.names)

    def _names_behind(self) -> dict[str, str]:
        """Of what is called how: the names of each operation and of all that it is made from, which
        a note about it may say."""
        found: dict[str, str] = {}
        by = trainers(self.graph)
        for key in self.graph.order():
            inputs = [found[taken.key] for taken in self.graph.operation(key).inputs]
            names = "\n".join([self.names.get(key, ""), by.get(key, ""), *inputs])
            found[key] = hashlib.sha256(names.encode()).hexdigest()[:16]
        return found

    @property
    def _sites(self) -> list[tuple[Site, ...]]:
        """Every set of sites that one backend has to serve; results ask for the empty one."""
        return list(dict.fromkeys([(), *(one.sites for one in self.plan.asked.values())]))

    @property
    def _opening_key(self) -> str:
        longest = self.graph.longest_prompt
        return self._key(["opening", str(longest), *map(sites_text, self._sites)])

    @property
    def _precision_key(self) -> str:
        return self._key(["precision", *self.plan.outcomes])

    def _read(self, said: Mapping[str, Any], data: bytes) -> dict[str, Found]:
        """Values that this run can use from a record; none if it is not as we write them."""
        try:
            operations, notes, passes = said["operations"], tuple(said["notes"]), said["passes"]
            if notes and any(self._said_of.get(one["key"]) != one["said_of"] for one in operations):
                return {}  # they speak of other names than this program's
            tensors = _tensors(data)
            found = {}
            parts: dict[str, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                number, _, part = name.partition("/")
                parts.setdefault(number, {})[part] = tensor
            drew = tuple(said["drew"])
            for i, (key, one) in enumerate(zip(said["keys"], operations, strict=False)):
                if self._by_key.get(key) != one["key"] or not self._fits(one):
                    continue
                packed = Packed(parts.get(str(i), {}), one["plain"])
                found[one["key"]] = Found(one["form"], packed, notes, drew, passes)
            return found
        except (KeyError, ValueError, TypeError, AttributeError):
            return {}

    def _fits(self, one: Mapping[str, Any]) -> bool:
        wanted = self.plan.outcomes.get(one["key"])
        return wanted is None or fits(self.graph, wanted, one["plain"])

    def _get(self, key: str) -> tuple[dict[str, Tensor], Any] | None:
        for said, data in self.store.get([key]):
            if "plain" in said:
                return _tensors(data), said["plain"]
        return None

    def _put(
        self,
        keys: Sequence[str],
        tensors: Mapping[str, Tensor],
        said: Mapping[str, Any],
        replace: bool = False,
    ) -> None:
        """A disk that is full, or a folder that can't be written to, costs the keeping alone."""
        if self.problem:
            return
        from safetensors.torch import save

        whole = {"keys": list(keys), "made_by": f"causaldsl {VERSION}", **said}
        own = {name: part.detach().cpu().contiguous().clone() for name, part in tensors.items()}
        try:
            self.store.put(keys, save(own, {"causaldsl": text_of(whole)}), replace)
        except OSError as error:
            self.problem = f"nothing more could be kept in {self.store.folder}: {error.strerror}"


@dataclass(frozen=True, eq=False)
class Checkpoints:
    """What is done of some operations (``engine/das.py``, ``engine/unfinished.py``)."""

    kept: Kept
    key: str

    def load(self) -> tuple[dict[str, Tensor], Any] | None:
        return self.kept._get(self.key)

    def save(self, tensors: dict[str, Tensor], plain: Any) -> None:
        said = {"what": plain["what"], "plain": plain}
        self.kept._put([self.key], tensors, said, replace=True)


@cache
def code_digest() -> str:
    """Identifies the code that computes values."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256(VERSION.encode())
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in _NOT_COMPUTING:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _rounding(device: str) -> str:
    """What last digits depend on beside what is multiplied: processor, threads, the GPU."""
    found = [platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    return str([*found, torch.cuda.get_device_name()] if device == "cuda" else found)


def _tensors(data: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
