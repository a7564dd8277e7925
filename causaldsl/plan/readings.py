"""Which activations of clean runs are worth keeping: those that are read sooner than made again.

An activation of b bytes is read from a disk and hashed in ``OPENED`` + b / read seconds, and the
clean run that it is of takes as long as its pass (``seconds.py``), whatever is read of it. So the
smallest are chosen first, as long as reading all that are chosen takes a ``SOONER``th of the pass.
"""

from __future__ import annotations

from causaldsl.check.pairs import PromptSet
from causaldsl.content_store import LIMIT
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import SiteAt
from causaldsl.model.shapes import ModelDims
from causaldsl.plan.machine import Machine
from causaldsl.plan.memory import kept
from causaldsl.plan.needs import Needs
from causaldsl.plan.planner import Plan
from causaldsl.plan.seconds import seconds_of
from causaldsl.plan.work import clean_work

SOONER = 10
"""How many times sooner it must be there: it is written for nothing if nobody asks again."""
OPENED = 1e-3
"""Seconds that a record takes, however small."""
SHARE = 100
"""What is kept of a clean run takes at most one in so many bytes of the store."""


def worth_keeping(
    graph: Graph,
    plan: Plan,
    shapes: ModelDims,
    machine: Machine,
    dtype: str,
    run: tuple[str, str],
    limit: int = LIMIT,
) -> dict[SiteAt, int]:
    """What to keep of a (clean run, backend), with its bytes; the store may take ``limit``.

    Nothing of a model that reads no text: it has few numbers. Nothing of texts that the model wrote
    itself: the run is known by how they are sampled, and not by what came out.
    """
    pairs = graph.pairs_of(run[0])
    if not shapes.text or (isinstance(pairs, PromptSet) and (pairs.sample or pairs.written)):
        return {}
    prompts = graph.prompts_of(run[0])
    sizes = {
        at: kept(Needs({at: None}), shapes, prompts, dtype).reads for at in plan.needs[run].reads
    }
    allowed = seconds_of(graph, clean_work(graph, plan, shapes, *run), shapes, machine) / SOONER
    most = limit // SHARE
    chosen: dict[SiteAt, int] = {}
    for at, size in sorted(sizes.items(), key=lambda both: both[1]):
        allowed -= OPENED + size / machine.read
        most -= size
        if allowed < 0 or most < 0:
            break
        chosen[at] = size
    return chosen
