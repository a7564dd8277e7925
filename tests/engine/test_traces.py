"""Traces against brute force: every mediated effect, edge and explained share, prompt by prompt."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl.check.pairs import Pair
from causaldsl.results.records import Results
from causaldsl.results.routes import TraceEdge
from tests import oracle, path_oracle
from tests.engine.test_interpret import run
from tests.frontend.world import PRELUDE, make_world
from tests.path_oracle import Policy

PROGRAM = """
site mlp = mlp_hidden[0] @ S2
subspace v = random(mlp, dim: 2, seed: 1)
trace t = patch mlp along v to logit_diff on flip.test { through heads, mlps  top 5 }
trace whole = patch mlp to logit_diff on flip.test { through heads[1..2], mlps  top 4  at END }
let alike = rank_correlation(t, whole)
expect t.total <= t.total and t.heads[2.1] <= 10 and t.dormant >= 0
"""
ALL = Policy(attention=True, mlp=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("traces"))


@pytest.fixture(scope="module")
def traced(world: Path) -> tuple[Results, Any]:
    return run(PRELUDE + PROGRAM, world)


class ByHand:
    """One trace of the patch of MLP 0's neurons at S2 along a basis, on single prompts."""

    def __init__(self, module: Any, pairs: tuple[Pair, ...], basis: Tensor | None):
        self.module, self.pairs, self.basis = module, pairs, basis

    def on(self, pair: Pair) -> tuple[oracle.Place, Any]:
        base, source = pair.base.named["S2"], pair.source.named["S2"]
        place = ("mlp_hidden", 0, None)
        value = oracle.read(self.module, self._ids(pair.source), place)[:, source]

        def change(x: Tensor) -> Tensor:
            out = x.clone()
            moved = value - x[:, base]
            out[:, base] += moved if self.basis is None else moved @ self.basis @ self.basis.T
            return out

        return place, change

    def run(self, pair: Pair, edits: list, free: set | None = None) -> float:
        """Logit difference; with ``free``, all but these components held at clean."""
        ids = self._ids(pair.base)
        if free is None:
            logits = oracle.logits(self.module, ids, edits)[0]
        else:
            with path_oracle.frozen(self.module, ids, ALL, free):
                logits = oracle.logits(self.module, ids, edits)[0]
        return float(logits[pair.answer] - logits[pair.foil])

    def read(self, pair: Pair, node: str, edits: list, free: set | None = None) -> Tensor:
        """A component's output (1, d) at its position."""
        seen: list[Tensor] = []

        def keep(x: Tensor) -> Tensor:
            seen.append(x[:, self._position(pair.base, node)].clone())
            return x

        ids = self._ids(pair.base)
        watched = [*edits, (self._place(node), keep)]
        if free is None:
            oracle.logits(self.module, ids, watched)
        else:
            with path_oracle.frozen(self.module, ids, ALL, free):
                oracle.logits(self.module, ids, watched)
        return seen[0]

    def natural(self, pair: Pair, node: str) -> Tensor:
        """A component's output when the stream behind the patched MLP is the source's."""
        place = ("resid_post", 0, None)
        value = oracle.read(self.module, self._ids(pair.source), place)

        def change(x: Tensor) -> Tensor:
            out = x.clone()
            out[:, pair.base.named["S2"]] = value[:, pair.source.named["S2"]]
            return out

        return self.read(pair, node, [(place, change)])

    def source(self, pair: Pair, node: str) -> Tensor:
        x = oracle.read(self.module, self._ids(pair.source), self._place(node))
        return x[:, self._position(pair.source, node)]

    def put(self, pair: Pair, node: str, value: Tensor) -> tuple[oracle.Place, Any]:
        def change(x: Tensor) -> Tensor:
            out = x.clone()
            out[:, self._position(pair.base, node)] = value
            return out

        return self._place(node), change

    def edge(self, pair: Pair, sender: str, receiver: str, natural: bool) -> float:
        if sender == "patch":
            itself = ByHand(self.module, self.pairs, None) if natural else self
            sent = [itself.on(pair)]
        else:
            value = (
                self.natural(pair, sender) if natural else self.read(pair, sender, [self.on(pair)])
            )
            sent = [self.put(pair, sender, value)]
        clean = self.run(pair, [])
        if receiver == "logits":
            return self.run(pair, sent, set()) - clean
        heard = self.read(pair, receiver, sent, self.free(receiver))
        return self.run(pair, [self.put(pair, receiver, heard)]) - clean

    def explained(self, pair: Pair, edges: list[TraceEdge], order: list[str]) -> float:
        now: dict[str, Tensor] = {}

        def into(node: str) -> list:
            senders = [e.sender for e in edges if e.receiver == node]
            sent = [self.on(pair)] if "patch" in senders else []
            return sent + [self.put(pair, s, now[s]) for s in senders if s in now]

        for node in order:
            if into(node):
                now[node] = self.read(pair, node, into(node), self.free(node))
        return self.run(pair, into("logits"), set()) - self.run(pair, [])

    def free(self, node: str) -> set:
        kind, layer, head = self._place(node)
        return {("mlp", layer, 0)} if kind == "mlp_out" else {("z", layer, head)}

    def _ids(self, prompt: Any) -> Tensor:
        return torch.tensor([prompt.ids])

    def _place(self, node: str) -> oracle.Place:
        name = node.split("@")[0]
        if name.startswith("mlp"):
            return "mlp_out", int(name[3:]), None
        layer, head = name.split(".")
        return "head.z", int(layer), int(head)

    def _position(self, prompt: Any, node: str) -> int:
        return prompt.named[node.split("@")[1]]


@pytest.fixture(scope="module")
def by_hand(traced: tuple[Results, Any]) -> ByHand:
    _, session = traced
    pairs = session.graph.pairs[session.graph.key_of("flip.test")].pairs
    basis = session.values[session.graph.key_of("v")].basis
    return ByHand(oracle.in_double(session.loaded.hf), pairs, basis)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_total_and_mediated(traced: tuple[Results, Any], by_hand: ByHand) -> None:
    trace = traced[0].traces["t"]
    on = [by_hand.run(p, [by_hand.on(p)]) for p in by_hand.pairs]
    clean = [by_hand.run(p, []) for p in by_hand.pairs]
    total = mean(on) - mean(clean)
    assert trace.total.mean == pytest.approx(total, abs=1e-9)
    assert trace.positions == ["S2", "END"]
    assert len(trace.components) == 2 * (3 * 4 + 3)
    for node in trace.components[::3]:
        held = []
        for pair in by_hand.pairs:
            value = by_hand.read(pair, node.id, [])
            held.append(by_hand.run(pair, [by_hand.on(pair), by_hand.put(pair, node.id, value)]))
        assert node.mediated is not None
        assert node.share is not None
        assert node.mediated.mean == pytest.approx(mean(on) - mean(held), abs=1e-9)
        assert node.share.mean == pytest.approx((mean(on) - mean(held)) / total, abs=1e-6)
    sizes = sorted((abs(n.mediated.mean) for n in trace.components if n.mediated), reverse=True)
    kept = [abs(n.mediated.mean) for n in trace.nodes if n.mediated]
    assert sorted(kept, reverse=True) == sizes[:5]


def test_edges_and_what_they_explain(traced: tuple[Results, Any], by_hand: ByHand) -> None:
    trace = traced[0].traces["t"]
    assert {e.sender for e in trace.edges} > {"patch"}
    for edge in trace.edges:
        ends = edge.sender, edge.receiver
        effect = mean([by_hand.edge(p, *ends, natural=False) for p in by_hand.pairs])
        natural = mean([by_hand.edge(p, *ends, natural=True) for p in by_hand.pairs])
        assert edge.effect.mean == pytest.approx(effect, abs=1e-9), ends
        assert edge.natural.mean == pytest.approx(natural, abs=1e-9), ends
        assert edge.share == pytest.approx(effect / trace.total.mean, abs=1e-6)
    order = [node.id for node in trace.nodes[1:-1]]
    shown = [edge for edge in trace.edges if edge.shown]
    explained = mean([by_hand.explained(p, shown, order) for p in by_hand.pairs])
    assert explained != pytest.approx(0, abs=1e-6)
    assert trace.explained.mean == pytest.approx(explained / trace.total.mean, abs=1e-6)


def test_which_edges_there_are(traced: tuple[Results, Any]) -> None:
    """Forward in depth; to the right for heads only; to the logits from the last token only."""
    trace = traced[0].traces["t"]
    nodes = {node.id: node for node in trace.nodes}
    inner = [n for n in trace.nodes if n.kind in ("head", "mlp")]
    for a, b in itertools.permutations(inner, 2):
        depth = [2 * (n.layer or 0) + (n.kind == "mlp") for n in (a, b)]
        right = trace.positions.index(a.position) < trace.positions.index(b.position)
        same = a.position == b.position
        wanted = depth[0] < depth[1] and (same or (right and b.kind == "head"))
        assert wanted == any((e.sender, e.receiver) == (a.id, b.id) for e in trace.edges)
    for edge in trace.edges:
        if edge.receiver == "logits":
            assert nodes[edge.sender].position == "END"
    assert not any(e.sender == "patch" and e.receiver == "logits" for e in trace.edges)


def test_dormant_edges(traced: tuple[Results, Any]) -> None:
    for trace in traced[0].traces.values():
        for edge in trace.edges:
            effects = (edge.effect, edge.natural), (edge.natural, edge.effect)
            carried = [
                abs(here.mean) >= 0.05 * abs(trace.total.mean)
                and here.low * here.high > 0
                and there.mean / here.mean < 0.2
                for here, there in effects
            ]
            assert edge.dormant == any(carried) == bool(edge.asleep)
            if edge.asleep in ("data", "intervention"):
                assert carried[edge.asleep == "intervention"]
            assert edge.shown == (edge.dormant or abs(edge.share) >= 0.02)


def test_the_same_on_both_backends(traced: tuple[Results, Any], world: Path) -> None:
    hooks, _ = run(PRELUDE + PROGRAM, world, backend="hooks")
    for name, trace in traced[0].traces.items():
        other = hooks.traces[name]
        assert [node.id for node in trace.nodes] == [node.id for node in other.nodes]
        assert trace.explained.mean == pytest.approx(other.explained.mean, abs=1e-6)
        for edge, same in zip(trace.edges, other.edges, strict=True):
            assert edge.effect.mean == pytest.approx(same.effect.mean, abs=1e-9)
            assert edge.natural.mean == pytest.approx(same.natural.mean, abs=1e-9)
    assert hooks.numbers == pytest.approx(traced[0].numbers)


def test_comparison(traced: tuple[Results, Any]) -> None:
    from scipy.stats import spearmanr

    comparison = traced[0].comparisons["alike"]
    assert (comparison.left, comparison.right) == ("t", "whole")
    assert len(comparison.rows) == 2 * 4 + 3
    left, right = zip(*((row.left.mean, row.right.mean) for row in comparison.rows), strict=True)
    assert comparison.rank_correlation == pytest.approx(spearmanr(left, right).statistic)
    assert traced[0].numbers["alike"] == comparison.rank_correlation


def test_nothing_is_claimed_of_shares_of_what_may_be_nothing(world: Path) -> None:
    claims = "expect t.explained > -9\nexpect whole.explained > -9\n"
    results, _ = run(PRELUDE + PROGRAM + claims, world)
    unsure = []
    for name, claim in zip(("t", "whole"), results.expectations[-2:], strict=True):
        total = results.traces[name].total
        unsure.append(total.low <= 0 <= total.high)
        assert claim.verdict == ("undecided" if unsure[-1] else "held")
        assert ("maybe of 0" in claim.why) == unsure[-1]
    assert any(unsure)


def test_a_path_of_a_program_is_the_oracles(world: Path) -> None:
    text = """
site mlp = mlp_hidden[0] @ S2
path p = mlp -> {kv_head[1.1].v @ S2, mlp_in[1] @ S2} -> head[3.2].q @ END -> logits {
  freeze all  layernorm frozen
}
measure m on flip.test {
  p = p
  direct = head[2.3].z @ END -> logits { freeze mlp  layernorm recompute }
  with = p + patch head[2.3].z @ END
  report logit_diff
}
"""
    results, session = run(PRELUDE + text, world)
    module = oracle.in_double(session.loaded.hf)
    pairs = session.graph.pairs[session.graph.key_of("flip.test")].pairs
    found: dict[str, list[float]] = {"p": [], "direct": []}
    for pair in pairs:
        hand, base = ByHand(module, pairs, None), torch.tensor([pair.base.ids])
        at = {name: torch.tensor([[pair.base.named[name]]]) for name in ("S2", "END")}
        hops = [
            [(("kv_head.v", 1, 1), at["S2"]), (("mlp_in", 1, None), at["S2"])],
            [(("head.q", 3, 2), at["END"])],
        ]
        head = hand.put(pair, "2.3@END", hand.source(pair, "2.3@END"))
        runs = {
            "p": path_oracle.path(module, base, [hand.on(pair)], hops, Policy(True, True, True)),
            "direct": path_oracle.path(module, base, [head], [], Policy(mlp=True)),
        }
        for name, logits in runs.items():
            found[name].append(float(logits[0, pair.answer] - logits[0, pair.foil]))
    table = {arm: n["logit_diff"].mean for arm, n in results.measures["m"].items()}
    for name, values in found.items():
        assert table[name] == pytest.approx(mean(values), abs=1e-9)
        assert abs(table[name] - table["clean"]) > 1e-4
    assert abs(table["with"] - table["p"]) > 1e-4
    assert "freeze all" in results.arms["m"]["p"]
