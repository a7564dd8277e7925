"""Activations that interventions take from elsewhere, in clean and in changed runs."""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.engine.backend import activations_of
from causaldsl.engine.edits import Read
from causaldsl.engine.here import Here
from causaldsl.engine.reads import activations
from causaldsl.engine.registry import evaluates, evaluates_together
from causaldsl.engine.session import Session, stack
from causaldsl.engine.words.runs import Arm, changes_of, check_fired
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.seen import MeanSeen, Seen, SeenElsewhere


@evaluates_together(Seen)
@torch.no_grad()
def seen(session: Session, operations: list[Operation]) -> list[list[Tensor]]:
    """(k, d) for each pair, of operations that read one run: all in one pass."""
    first, key = operations[0], operations[0].input("run")
    run, backend = session.graph.operation(key), session.plan.backends[first.key]
    if not run.inputs_as("do"):
        return [activations(session, key, backend, one.at_site) for one in operations]
    runs, arm = session.runs(run.input("base"), backend), Arm(changes_of(session, run))
    parts: list[list[Tensor]] = []
    for group in runs.groups:
        reads = [Read(one.at_site.site, group.positions[one.at_site]) for one in operations]
        parts.append(activations_of(runs.backend, group.clean, arm.edits(group), reads))
    check_fired(arm)
    return [runs.by_pair(of_place) for of_place in zip(*parts, strict=True)]


@evaluates(SeenElsewhere)
def seen_elsewhere(here: Here[SeenElsewhere]) -> list[Tensor]:
    return here.of_run(here.operation.input("run"))


@evaluates(MeanSeen)
def mean_seen(here: Here[MeanSeen]) -> Tensor:
    return stack(here.of_run(here.operation.input("run"))).mean(0)
