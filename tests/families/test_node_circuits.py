"""Circuits of nodes against raw hooks on the transformers module, in float64, on five families.

By hand a circuit is one forward pass in which every node outside it is set to another value: the
z of heads where W_O reads them, and what MLPs, attention layers and the embedding write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pytest

from tests.families.arms import Arm, At, Do, kl
from tests.families.bench import BACKENDS, CHANGED, CLOSE, ONE_LENGTH, Bench, bench
from tests.families.models import HEADS, LAYERS

FAMILIES = ("llama", "gpt2", "gpt_neox", "gemma", "phi")
"""Grouped queries; layer norms; parallel blocks; one key-value head and scaled embeddings; biases
and blocks in parallel."""
VERBS = {"source": "patch", "mean": "mean", "zero": "zero"}
HEAD_NODES = [At("head.z", *at, "all") for at in product(range(LAYERS), range(HEADS))]
MLP_NODES = [At("mlp_out", layer, None, "all") for layer in range(LAYERS)]
LAYER_NODES = [At("attn_out", layer, None, "all") for layer in range(LAYERS)]
EMBED = At("embed", None, None, "all")
SOME_HEADS = {"0.1", "1.2", "1.3", "3.0"}
SOME = {*SOME_HEADS, "mlps[0]", "mlps[2]"}


@dataclass(frozen=True)
class Circuit:
    """A circuit's text without what is outside, and its universe and its own nodes by hand."""

    text: str
    universe: Sequence[At]
    named: frozenset[At]
    where: str = "all"

    def arm(self, outside: str) -> str:
        circuit, _, over = self.text.partition(" over ")
        return f"{circuit} else {outside}" + (f" over {over}" if over else "")

    def by_hand(self, outside: str) -> Arm:
        keeps = self.text.startswith("only")
        out = [at for at in self.universe if (at in self.named) != keeps]
        there = [At(at.kind, at.layer, at.head, self.where) for at in out]
        return Arm(tuple(Do(VERBS[outside], at) for at in there))


def nodes(names: set[str]) -> frozenset[At]:
    """What the names of a set stand for: `1.2` is a head's z, `mlps[0]` an MLP's output."""
    found = set()
    for name in names:
        if name == "embed":
            found.add(EMBED)
        elif name[0].isdigit():
            layer, head = map(int, name.split("."))
            found.add(At("head.z", layer, head, "all"))
        else:
            kind, layer = name.rstrip("]").split("[")
            found.add(At({"mlps": "mlp_out"}.get(kind, kind), int(layer), None, "all"))
    return frozenset(found)


def circuit(verb: str, names: set[str], universe: Sequence[At], more: str = "") -> Circuit:
    where = "END" if more.startswith(" @") else "all"
    return Circuit(f"{verb} {{{', '.join(sorted(names))}}}{more}", universe, nodes(names), where)


CIRCUITS = [
    circuit("only", SOME, [*HEAD_NODES, *MLP_NODES]),
    circuit("without", SOME, [*HEAD_NODES, *MLP_NODES]),
    circuit("only", SOME_HEADS, HEAD_NODES),
    circuit("only", {"attn_out[1]", "attn_out[2]"}, LAYER_NODES),
    circuit("without", {"attn_out[1]", "mlps[3]"}, [*LAYER_NODES, *MLP_NODES]),
    circuit("only", SOME, [*HEAD_NODES, *MLP_NODES], " @ END"),
    circuit("only", SOME_HEADS, [*HEAD_NODES, *MLP_NODES, EMBED], " over {heads, mlps, embed}"),
    circuit("only", {*SOME, "embed"}, [*HEAD_NODES, *MLP_NODES, EMBED]),
]


@pytest.fixture(scope="module", params=FAMILIES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    found = bench(tmp_path_factory.mktemp(request.param), request.param)
    found.prelude = ONE_LENGTH  # means are token by token
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_nodes_are_brute_force(made: Bench, backend: str) -> None:
    assert (len(made.model.blocks), made.model.heads) == (LAYERS, HEADS)
    cases = [(one, outside) for one in CIRCUITS for outside in VERBS]
    lines = [f"  a{i} = {one.arm(outside)}" for i, (one, outside) in enumerate(cases)]
    ran = made.run(
        "\n".join(["measure m on flip.test {", *lines, "  report logit_diff, kl", "}", ""]), backend
    )
    reference = made.reference(ran)
    clean, *wanted = reference.logits([Arm(), *(one.by_hand(to) for one, to in cases)], {})
    for i, ((one, outside), logits) in enumerate(zip(cases, wanted, strict=True)):
        assert (logits - clean).abs().amax(1).min() > CHANGED
        found, used = ran.arm("m", f"a{i}")
        assert used == backend
        by_hand = {"logit_diff": reference.logit_diff(logits), "kl": kl(clean, logits)}
        for metric, right in by_hand.items():
            error = (found[metric] - right).abs().max() / right.abs().max().clamp_min(1.0)
            assert error < CLOSE, f"{one.arm(outside)}: {metric} off by {error:.2g}"
