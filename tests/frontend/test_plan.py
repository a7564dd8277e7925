"""What goes through the model together, and in what order."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.check.places import Point, PositionRef
from causaldsl.diagnostics import Mistake
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import (
    CleanRunWord,
    HopWord,
    Input,
    Operation,
    PatchedRunWord,
    SiteAt,
)
from causaldsl.model.sites import Site
from causaldsl.plan.entries import expected_backend
from causaldsl.plan.memory import chunk_rows, default_budget, parse_bytes
from causaldsl.plan.planner import Plan, make_plan
from causaldsl.plan.request import Asked
from causaldsl.plan.sharing import shared_passes
from causaldsl.vocabulary.learned import Das
from tests.frontend.test_graph import check, compiled
from tests.frontend.world import PRELUDE


def planned(text: str, world: Path) -> tuple[Graph, Plan]:
    program = check(PRELUDE + text, world)
    assert program.model is not None
    graph = compiled(PRELUDE + text, world)
    return graph, make_plan(graph, expected_backend(program.model.shapes), program.model.shapes)


def arms(graph: Graph, plan: Plan, measure: str) -> set[frozenset[str]]:
    """The passes of a measure's arms, as names of arms."""
    names: dict[str, list[str]] = {}
    for arm, key in graph.made[measure].parts.items():
        if arm != "clean":
            names.setdefault(key, []).append(arm)
    return {
        frozenset(name for member in plan.shared.get(key, (key,)) for name in names.get(member, ()))
        for key in names
    }


def subspaces(graph: Graph, plan: Plan, *names: str) -> set[frozenset[str]]:
    keys = {graph.key_of(name): name for name in names}
    return {frozenset(keys[m] for m in plan.shared.get(key, (key,)) if m in keys) for key in keys}


def test_arms_of_one_clean_run_share_a_pass_and_wait_for_what_is_learned(world: Path) -> None:
    text = """
subspace v = das(mlp_hidden[2] @ END, on: flip.train, epochs: 2)
measure a on flip.test {
  early = patch resid_post[0] @ END
  learned = patch mlp_hidden[2] @ END along v
  two = patch resid_post[1] @ S2 + patch head[2.1].z @ END
  hooked = patch hook("blocks.2.hook_resid_post") @ END
  report fldd
}
measure b on flip.train { early = patch resid_post[0] @ END  report fldd }
"""
    graph, plan = planned(text, world)
    together = frozenset({"early", "learned", "two"})
    assert arms(graph, plan, "a") == {together, frozenset({"hooked"})}
    group = plan.shared[graph.arm("a", "early")]
    assert graph.arm("b", "early") not in group
    assert group == tuple(key for key in graph.order() if key in group)
    order = list(plan.order)
    assert order.index(plan.shared[graph.key_of("v")]) < order.index(group)


@pytest.mark.parametrize(
    ("second", "together"),
    [
        ("seed: 1", True),
        ("dim: 2, lr: 0.1, decay: none", True),
        ("neurons: 5, objective: logit_diff", True),
        ("epochs: 3", False),
        ("batch: 4", False),
        ("no_change: 0.5", False),
        ("neurons: [4, 2], dim: 2", False),
        ("neurons: 2, dim: 2", False),
    ],
)
def test_das_share_the_steps_of_a_fit(second: str, together: bool, world: Path) -> None:
    text = f"""
subspace first = das(mlp_hidden[2] @ END, on: flip.train, epochs: 2)
subspace second = das(mlp_hidden[2] @ END, on: flip.train, {"" if "epochs" in second else "epochs: 2, "}{second})
"""  # noqa: E501
    found = subspaces(*planned(text, world), "first", "second")
    assert (found == {frozenset({"first", "second"})}) == together


def test_das_elsewhere_and_of_other_pairs(world: Path) -> None:
    text = """
subspace here = das(mlp_hidden[2] @ END, on: flip.train, epochs: 2)
subspace there = das(resid_post[1] @ S2, on: flip.train, epochs: 2)
subspace others = das(resid_post[1] @ S2, on: flip.test, epochs: 2)
"""
    found = subspaces(*planned(text, world), "here", "there", "others")
    assert found == {frozenset({"here", "there"}), frozenset({"others"})}


def test_paths_share_by_policy_and_receivers_step_by_step(world: Path) -> None:
    policy = "freeze all  layernorm recompute"
    text = f"""
measure p on flip.test {{
  a = head[0.1].z @ END -> heads[2].q @ END -> logits {{ {policy} }}
  b = head[1.1].z @ END -> heads[2].q @ END -> logits {{ {policy} }}
  other_receivers = head[0.1].z @ END -> heads[3].q @ END -> logits {{ {policy} }}
  other_policy = head[0.1].z @ END -> heads[2].q @ END -> logits {{ freeze none layernorm frozen }}
  long = head[0.2].z @ END -> heads[1].q @ END -> heads[2].q @ END -> logits {{ {policy} }}
  frees = head[1.0].q @ END -> heads[2].q @ END -> logits {{ {policy} }}
  report fldd
}}
"""
    graph, plan = planned(text, world)
    last_hop = {
        arm: graph.operation(key).find("do") or "" for arm, key in graph.made["p"].parts.items()
    }
    alone = {arm: (key,) for arm, key in last_hop.items()}
    shared = {arm: plan.shared.get(key) for arm, key in last_hop.items() if arm != "clean"}
    assert shared["a"] == shared["b"] == (last_hop["a"], last_hop["b"])
    for arm in ("other_receivers", "other_policy", "long", "frees"):
        assert shared[arm] == alone[arm], arm
    # Whatever way the receivers' inputs were found, the runs with them set go together.
    assert len(arms(graph, plan, "p")) == 1


def test_the_order_has_every_operation_after_what_it_takes(world: Path) -> None:
    text = (Path(__file__).parent / "corpus" / "everything.cpatch").read_text()
    program = check(text, world)
    assert program.model is not None
    graph = compiled(text, world)
    plan = make_plan(graph, expected_backend(program.model.shapes), program.model.shapes)
    keys = [key for group in plan.order for key in group]
    assert sorted(keys) == sorted(graph.network)
    taken = [{i.key for key in group for i in graph.operation(key).inputs} for group in plan.order]
    made: set[str] = set()
    for group, inputs in zip(plan.order, taken, strict=True):
        assert inputs <= made
        made.update(group)
    first = [graph.operation(group[0]).word for group in plan.order]
    prepares = [w.word in ("pairs", "clean_run") or w.changes for w in first]
    for i, group in enumerate(plan.order):
        if prepares[i]:  # prompts are read and run right before their first use
            user = next(j for j in range(i + 1, len(prepares)) if not prepares[j])
            used = taken[user] | set().union(*(taken[j] for j in range(i + 1, user)))
            assert group[0] in used


def test_a_pass_that_would_wait_for_itself_is_split() -> None:
    def add(word: PatchedRunWord | HopWord | Das | CleanRunWord, *inputs: tuple[str, str]) -> str:
        at = SiteAt(site=Site("resid_post", 0), position=PositionRef(Point("END", 0)))
        given = tuple(Input(role=role, key=key) for role, key in inputs)
        operation = Operation(word=word, at=at, inputs=given, model="m")
        graph.network.add_node(operation.key, operation=operation)
        for _, key in inputs:
            graph.network.add_edge(key, operation.key, role="x")
        return operation.key

    graph = Graph()
    base = ("base", add(CleanRunWord(side="base")))
    run = add(PatchedRunWord(), base)
    after_run = add(Das(seed=1), base, ("along", run))
    before_run = add(Das(seed=2), base)
    after_das = add(PatchedRunWord(), base, ("along", before_run))
    backends = dict.fromkeys(graph.network, "cone")
    asked = {key: Asked(mark=None if key == base[1] else "alike") for key in graph.network}
    shared = shared_passes(graph, graph.order(), asked, backends)
    assert shared[run] == (run,)
    assert shared[after_das] == (after_das,)
    assert shared[after_run] == (after_run,)
    graph.network.remove_edge(run, after_run)
    shared = shared_passes(graph, graph.order(), asked, backends)
    assert set(shared[run]) == {run, after_das}
    assert set(shared[after_run]) == {after_run, before_run}


def test_sizes_are_read_and_budgets_kept() -> None:
    assert parse_bytes("4G") == 4 * 1024**3
    assert parse_bytes(" 1.5gb ") == 3 * 1024**3 // 2
    assert parse_bytes("800M") == 800 * 1024**2
    assert parse_bytes("12345") == 12345
    for wrong in ("", "much", "-1G", "0", "4X", "1e3"):
        with pytest.raises(Mistake, match="not an amount of memory"):
            parse_bytes(wrong)
    assert default_budget(4 * 1024**3) == 512 * 1024**2
    assert default_budget(64 * 1024**3) == 1024**3
    assert chunk_rows(100, 1000) == 10
    assert chunk_rows(5000, 1000) == 1
