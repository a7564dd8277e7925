"""What the plan says a clean run keeps, against the tensors that it does keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from causaldsl.check.pairs import Pair, PairSet, Prompt
from causaldsl.check.places import Point, PositionRef
from causaldsl.engine.cone.recorder import ConeRun
from causaldsl.engine.runs import PromptRuns
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site
from causaldsl.plan.memory import kept
from causaldsl.plan.needs import Needs
from tests.engine.conftest import Parties

END = PositionRef(Point("END", 0))
S2 = PositionRef(Point("S2", 0))
SOME = PositionRef(Point("S2", 0), Point("END", 0))
LENGTHS = (7, 5, 6, 5, 7)


def prompts() -> list[Prompt]:
    return [
        Prompt(f"prompt {i}", tuple(range(1, length + 1)), (("S2", 2 + i % 2),))
        for i, length in enumerate(LENGTHS)
    ]


def at(site: Site, position: PositionRef = END) -> SiteAt:
    return SiteAt(site=site, position=position)


CASES = {
    "nothing": Needs(),
    "read only": Needs(reads={at(Site("mlp_hidden", 1), S2): None, at(Site("head.q", 2, 0)): None}),
    "logits": Needs(reads={at(Site("logits")): None}),
    "end": Needs(edits={at(Site("resid_post", 1)): None, at(Site("mlp_hidden", 2)): None}),
    "middle": Needs(
        reads={at(Site("mlp_in", 3)): None},
        edits={at(Site("embed")): None, at(Site("mlp_hidden", 0), S2): None},
    ),
    "several positions": Needs(edits={at(Site("mlp_out", 3), SOME): None}),
    "frozen": Needs(
        edits={at(Site("head.z", 1, 1), S2): None, at(Site("mlp_hidden", 2)): None}, frozen=True
    ),
    "patterns": Needs(reads={at(Site("head.pattern", 1, 2), SOME): None}),
    "last": Needs(edits={at(Site("resid_post", 3)): None, at(Site("logits")): None}, frozen=True),
}


def bytes_of(run: ConeRun) -> int:
    tables = [run.residual, run.keys, run.values, *run.components.tables()]
    tensors = [run.tokens, run.last, *(x for table in tables for x in table.values())]
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("logits", [True, False])
def test_bytes_are_those_of_the_tensors(trio: Parties, case: str, logits: bool) -> None:
    if "cone" not in trio.backends:
        pytest.skip(f"{trio.family} runs on hooks only")
    pairs = PairSet("p", tuple(Pair(p, p, 1, 2, 2) for p in prompts()))
    needs = replace(CASES[case], logits=logits)
    runs = PromptRuns(trio.backends["cone"], pairs, "base", needs)
    found = sum(bytes_of(group.clean) for group in runs.groups)
    found += sum(value.nbytes for place in needs.reads for value in runs.read(place))
    parts = kept(needs, trio.shapes, prompts(), "float64")
    assert parts.total == found > 0
    assert (parts.held > 0) == needs.frozen
    single = kept(needs, trio.shapes, prompts(), "float32")
    assert 2 * (single.total - parts.tokens) == parts.total - parts.tokens
