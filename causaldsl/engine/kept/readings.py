"""Recorded activations of clean runs in a store, where a run needs nothing else of them.

A clean run whose readings are all there is not made. One that is made for more (patched runs,
outcomes, gradients) is read itself: then no number mixes activations of two passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from causaldsl.content_store import ContentStore
from causaldsl.engine.session import Session
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import SiteAt
from causaldsl.plan.machine import this_machine
from causaldsl.plan.needs import Key
from causaldsl.plan.planner import Plan
from causaldsl.plan.readings import worth_keeping


class KeptBy(Protocol):
    """What a store has for the operations of a run (``values.py``), as its readings need it."""

    store: ContentStore
    graph: Graph
    plan: Plan
    made: set[str]
    passes: str
    """Identifies the passes of the run."""

    def key_of(self, what: str) -> str: ...

    def tensors(self, key: str) -> tuple[dict[str, Tensor], str] | None: ...

    def put_tensors(self, key: str, what: str, tensors: Mapping[str, Tensor]) -> None: ...


class Readings:
    """The recorded activations that a store has for a run."""

    def __init__(self, kept: KeptBy):
        self.kept = kept
        self.elsewhere = False
        """Whether some that were used went through the model in passes that are not this run's."""

    @cached_property
    def spared(self) -> frozenset[Key]:
        """The clean runs, with their backends, of which all that is needed is there."""
        plan, made = self.kept.plan, self.kept.made
        needed: dict[Key, bool] = {}
        for key in made:
            one, backend = plan.asked[key], plan.backends.get(key, "")
            for run, at in one.records:
                there = needed.get((run, backend), True)
                needed[run, backend] = there and self.kept.store.has(self._key(run, backend, at))
            needed |= {(request.clean, backend): False for request in one.requests}
            if key in plan.outcomes and not one.requests:
                needed[key, backend] = False
        return frozenset(key for key, there in needed.items() if there)

    def only(self, key: str) -> bool:
        """Whether making an operation takes of the model what is there, and no more."""
        one, operation = self.kept.plan.asked[key], self.kept.graph.operation(key)
        places = [at for at in (operation.at, *operation.to) if at is not None]
        if one.requests or one.writes or not one.records or any(p.site.is_virtual for p in places):
            return False
        backend = self.kept.plan.backends[key]
        return all((run, backend) in self.spared for run, _ in one.records)

    def get(self, run: str, backend: str, at: SiteAt) -> list[Tensor] | None:
        """The activations (k, d) by pair, on the CPU; None if the run has to be made."""
        if (run, backend) not in self.spared:
            return None
        key = self._key(run, backend, at)
        found = self.kept.tensors(key)
        if found is None:  # damaged, or gone since
            self.kept.store.drop(key)
            return None
        tensors, passes = found
        self.elsewhere |= passes != self.kept.passes
        shapes = tensors["shapes"].tolist()
        parts = tensors["values"].split([k * d for k, d in shapes])
        return [part.view(k, d) for part, (k, d) in zip(parts, shapes, strict=True)]

    def keep(self, session: Session, run: str, backend: str, read: _Read) -> None:
        """Keep what is worth it of a clean run that was made, and is not there yet."""
        kept, loaded, machine = self.kept, session.loaded, this_machine()
        how = (loaded.spec.shapes, machine, loaded.dtype_name, (run, backend), kept.store.limit)
        worth = worth_keeping(session.graph, session.plan, *how)
        for at in worth:
            key = self._key(run, backend, at)
            if kept.store.has(key):
                continue
            values = read(at)
            tensors = {
                "values": torch.cat([value.flatten() for value in values]),
                "shapes": torch.tensor([list(value.shape) for value in values]),
            }
            kept.put_tensors(key, f"activations of {at}, {len(values)} prompts", tensors)

    def _key(self, run: str, backend: str, at: SiteAt) -> str:
        return self.kept.key_of(f"activations {run} {backend} {at}")


_Read = Callable[[SiteAt], list[Tensor]]
