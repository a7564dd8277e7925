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

from causaldsl.engine.edits import Read, Watch
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import Session
from causaldsl.engine.words.runs import Change, changes_of, check_made
from causaldsl.graph.operations import HopWord, Operation
from causaldsl.plan.freeze import freeze_of


@evaluates(HopWord)
@torch.no_grad()
def hop(session: Session, operation: Operation) -> list[Change]:
    """The receivers' inputs, for later runs to put there."""
    changes = changes_of(session, operation)
    runs = session.runs(operation.given("base"), session.plan.backends[operation.key])
    watches = [Watch() for _ in changes]
    freeze = freeze_of(operation.word)
    by_group: list[list[Tensor]] = []
    for group in runs.groups:
        edits = [change.edit(group, watch) for change, watch in zip(changes, watches, strict=True)]
        reads = [Read(at.site, group.positions[at]) for at in operation.to]
        by_group.append(runs.backend.record(group.clean, edits, reads, None, freeze))
    check_made(session, changes, watches)
    return [
        Change(at, runs.by_pair(values), None)
        for at, values in zip(operation.to, zip(*by_group, strict=True), strict=True)
    ]
