"""What stands beside a verdict: what the audit says of other seeds, and of one template's pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from causaldsl.engine.audit.evidence import Audited
from causaldsl.engine.audit.rows import record
from causaldsl.engine.audit.rule import Facts
from causaldsl.engine.words import audits as words
from causaldsl.graph.graph import Graph
from causaldsl.results.records import AuditRecord
from causaldsl.vocabulary.base import SIDES
from tests.engine.planting.build import DORMANT, LOST, write
from tests.engine.planting.cases import built
from tests.engine.test_interpret import run

PROGRAM = """model lm = "model"
pairs mixed = jsonl("mixed.jsonl")
pairs p = jsonl("pairs.jsonl", train: 0.5)
site mlp = mlp_hidden[{layer}] @ END
audit planted = illusion(file("v.safetensors"), at: mlp, on: mixed, directions: 0)
audit a = illusion(das(mlp, on: p.train, neurons: 6, epochs: 8, lr: 0.1), on: p, {few}, seeds: 3)
audit b1 = illusion(das(mlp, on: p.train, neurons: 6, epochs: 8, lr: 0.1, seed: 1), on: p, {few})
audit b2 = illusion(das(mlp, on: p.train, neurons: 6, epochs: 8, lr: 0.1, seed: 2), on: p, {few})
audit b3 = illusion(das(mlp, on: p.train, neurons: 6, epochs: 8, lr: 0.1, seed: 3), on: p, {few})
"""
FEW = "directions: 0, mlps: 0, sizes: []"
DECIDE = ("v", "principal", "more principal", "clip in components", "clip")


def mixed(lines: list[dict]) -> list[dict]:
    """Pairs from two templates, where those of the second stay within their class."""
    first = [line | {"template": "one {X}"} for line in lines[:20]]
    second = []
    for base, source in zip(lines[20::4] + lines[21::4], lines[22::4] + lines[23::4], strict=True):
        within = {"source": source["base"], "class": dict.fromkeys(SIDES, base["class"]["base"])}
        second.append(base | within | {"template": "two"})
    return first + second


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stable")
    made = built("null", 0)
    write(made, folder / "model")
    lines = (folder / "model/pairs.jsonl").read_text().splitlines()
    (folder / "model/pairs.jsonl").rename(folder / "pairs.jsonl")
    told = mixed([json.loads(line) for line in lines])
    (folder / "mixed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    illusion = made.frame[:, LOST] + made.frame[:, DORMANT]
    save_file({"basis": illusion[:, None].contiguous()}, str(folder / "v.safetensors"))
    return folder


@dataclass(frozen=True)
class Ran:
    """What a run gave, and what its audits were made from, in no order."""

    audits: dict[str, AuditRecord]
    graph: Graph
    made: list[Audited]


@pytest.fixture(scope="module")
def ran(world: Path) -> Ran:
    text = PROGRAM.format(layer=built("null", 0).spec.layer, few=FEW)
    made: list[Audited] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "record", lambda audited: made.append(audited) or record(audited))
        results, session = run(text, world)
    return Ran(results.audits, session.graph, made)


def test_the_pairs_of_one_template(ran: Ran) -> None:
    """Within a class the patch does nothing, and the other template's pairs hide that."""
    planted = ran.audits["planted"]
    assert planted.verdict == "illusory"
    assert planted.stability['"one {X}" alone'] == "illusory"
    assert planted.stability['"two" alone'] == "inconclusive"


def test_other_seeds(ran: Ran) -> None:
    """The verdict of an audit of what that seed gives; which neurons are drawn decides here."""
    audits, graph = ran.audits, ran.graph
    said = {seed: audits["a"].stability[f"trained with seed {seed}"] for seed in (1, 2, 3)}
    assert said == {seed: audits[f"b{seed}"].verdict for seed in said}
    assert len({*said.values(), audits["a"].verdict}) > 1
    parts = graph.made["a"].parts
    for seed in said:
        other = graph.made[f"b{seed}"].parts
        assert [parts[f"{arm} seed {seed}"] for arm in DECIDE] == [other[arm] for arm in DECIDE]
    assert not any("seed" in name for name in audits["b1"].stability)


def test_what_decides_for_another_seed_is_of_its_own_subspace(ran: Ran) -> None:
    (a,) = (one for one in ran.made if one.seeds)
    effects = set()
    for seed in a.seeds:
        basis = a.parts[f"of seed {seed}"].basis
        (b,) = (one for one in ran.made if torch.equal(one.of.basis, basis))
        again = a.trained_with(seed)
        assert torch.equal(again.patched, b.patched)
        for field in fields(Facts):
            said, wanted = (getattr(one.facts, field.name) for one in (again, b))
            assert getattr(said, "mean", said) == getattr(wanted, "mean", wanted), field.name
        effects.add(again.facts.effect.mean)
    assert len(effects | {a.facts.effect.mean}) == 4
