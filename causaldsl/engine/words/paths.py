"""Hops of a path: what receivers read when only their senders have changed.

For a path s -> R1 -> ... -> Rm -> logits under a policy F (what is held at clean values c)::

    r1     = inputs of R1  in the run on bases with s in force,         F held
    r(i+1) = inputs of Ri+1 in the run on bases with inputs of Ri := ri, F held
    effect = metric of the run on bases with inputs of Rm := rm, all else free

This is path patching as in Wang et al. 2022 (arXiv 2211.00593) and Goldowsky-Dill et al. 2023
(arXiv 2304.05969), with what is held and what happens to layer norms said for each path.
"""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.engine.backend import Activations, Pass
from causaldsl.engine.edits import Read, read_changes
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.registry import evaluates_together
from causaldsl.engine.session import Session
from causaldsl.engine.words.runs import Arm, changes_of, check_made, effects_of
from causaldsl.graph.operations import HopWord, Operation
from causaldsl.plan.freeze import freeze_of


@evaluates_together(HopWord)
@torch.no_grad()
def hops(session: Session, operations: list[Operation]) -> list[list[PreparedEdit]]:
    """The receivers' inputs, for later runs to put there: for hops to the same receivers."""
    first = operations[0]
    runs = session.runs(first.input("base"), session.plan.backends[first.key])
    arms = [Arm(changes_of(session, operation)) for operation in operations]
    freeze = freeze_of(first.word)
    by_group: list[list[Tensor]] = []
    for group in runs.groups:
        reads = [Read(at.site, group.positions[at]) for at in first.to]
        edits = [arm.edits(group) for arm in arms]
        wanted = Pass(group.clean, edits, Activations(reads), hold=freeze)
        by_group.append(runs.backend.run(wanted))
    read_changes(watch for arm in arms for watch in arm.watches)
    effects = {op.key: effects_of(arm) for op, arm in zip(operations, arms, strict=True)}
    check_made(effects, session.noted, session.note)
    return [
        [
            PreparedEdit(at, runs.by_pair([values[arm] for values in of_place]), None)
            for at, of_place in zip(first.to, zip(*by_group, strict=True), strict=True)
        ]
        for arm in range(len(arms))
    ]
