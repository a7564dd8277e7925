"""Blocks whose attention and MLP read the same input: neither can change the other."""

from pathlib import Path

import pytest

from causaldsl.diagnostics import ProgramError
from causaldsl.model.catalog import resolve
from causaldsl.model.edges import all_edges, senders, wiring_of
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site, all_sites
from causaldsl.plan.components import Component
from tests.frontend.test_graph import check
from tests.frontend.world import PRELUDE
from tests.tiny import Family, tiny_folder

POLICY = "{ freeze none  layernorm recompute }"


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The prelude with a model of parallel blocks, in a folder of its own."""
    folder = tiny_folder(tmp_path_factory.mktemp("parallel"), "neox")
    return PRELUDE.replace("tiny-llama", str(folder))


def shapes_of(folder: Path, family: Family) -> ModelDims:
    return resolve(str(tiny_folder(folder, family)), folder, print).shapes


def codes(program: str, world: Path) -> list[str]:
    try:
        found = check(program, world).warnings
    except ProgramError as error:
        found = list(error.diagnostics)
    return [one.code for one in found]


def projected(seen: str, changed: str) -> str:
    return f"histogram h on flip.test {{ a = random({seen}) at {seen} with patch {changed} }}\n"


BESIDE = [
    ("head[1.1].z @ END", "mlp_in[1] @ END"),
    ("mlp_out[1] @ END", "attn_out[1] @ END"),
    ("mlp_hidden[1] @ END", "head[1.1].z @ END"),
    ("mlp_in[1] @ END", "head[1.0].k @ S2"),
    ("mlp_out[1] @ END", "head[1.0].v @ END"),
    ("mlp_hidden[1] @ END", "resid_pre[1] @ S2"),
]
"""What is looked at, and a change beside it in the same block."""
BEHIND = [
    ("mlp_out[1] @ END", "mlp_in[1] @ END"),
    ("head[1.1].z @ END", "head[1.1].q @ END"),
    ("mlp_hidden[1] @ END", "resid_pre[1] @ END"),
    ("resid_post[1] @ END", "attn_out[1] @ END"),
    ("resid_post[1] @ END", "resid_pre[1] @ S2"),
    ("mlp_in[2] @ END", "head[1.1].z @ END"),
    ("head[2.1].z @ END", "mlp_out[1] @ S2"),
    ("mlp_in[2] @ END", "resid_pre[1] @ S2"),
    ("mlp_in[2] @ END", "mlp_out[0] @ S2"),
]


@pytest.mark.parametrize(("seen", "changed"), BESIDE)
def test_what_stands_beside_a_change_is_out_of_its_reach(
    seen: str, changed: str, parallel: str, world: Path
) -> None:
    assert codes(parallel + projected(seen, changed), world) == ["out-of-reach"]


@pytest.mark.parametrize(("seen", "changed"), BEHIND)
def test_what_stands_behind_a_change_is_not(
    seen: str, changed: str, parallel: str, world: Path
) -> None:
    assert codes(parallel + projected(seen, changed), world) == []


@pytest.mark.parametrize(("seen", "changed"), BESIDE[1:])
def test_in_a_sequential_block_the_mlp_reads_what_attention_wrote(
    seen: str, changed: str, world: Path
) -> None:
    sequential = PRELUDE.replace("tiny-llama", "tiny-gpt2")
    assert codes(sequential + projected(seen, changed), world) == []


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("head[1.1].z -> mlp_in[1]", False),
        ("head[1.1].q -> mlp_in[1]", False),
        ("mlp_in[1] -> head[1.1].q", False),
        ("mlp_in[1] -> heads[1].q", False),
        ("attn_out[1] -> mlp_in[1]", False),
        ("head[0.1].z -> {head[1.1].q, mlp_in[1]}", True),
        ("resid_pre[1] -> mlp_in[1]", True),
        ("head[1.1].z -> resid_post[1]", True),
        ("mlp_in[1] -> resid_post[1]", True),
        ("head[1.1].z + mlp_out[0] -> mlp_in[1]", True),
    ],
)
def test_no_path_goes_between_attention_and_mlp_of_one_block(
    path: str, goes: bool, parallel: str, world: Path
) -> None:
    path = " -> ".join(f"{part} @ END" for part in path.split(" -> ")).replace(" +", " @ END +")
    program = f"measure m on flip.test {{ a = {path} -> logits {POLICY}  report fldd }}\n"
    assert codes(parallel + program, world) == ([] if goes else ["comes-before"])


@pytest.mark.parametrize(
    ("changed", "heads", "mlps"),
    [
        ("mlp_in[2]", [3], (3,)),
        ("attn_out[2]", [3], (3,)),
        ("head[2.1].q", [2, 3], (3,)),
        ("resid_pre[2]", [2, 3], (2, 3)),
    ],
)
def test_a_trace_leaves_out_what_stands_beside(
    changed: str, heads: list[int], mlps: tuple[int, ...], parallel: str, world: Path
) -> None:
    program = f"trace t = patch {changed} @ END to logit_diff on flip.test {{ }}\n"
    trace = check(parallel + program, world).traces["t"]
    assert sorted({layer for layer, _ in trace.heads}) == heads
    assert trace.mlps == mlps


def test_an_mlp_reads_the_heads_of_its_layer_only_in_sequence() -> None:
    head, mlp = Component(1, 0, 0, "END"), Component(1, -1, 0, "END")
    assert mlp.reads(head, parallel=False)
    assert not mlp.reads(head, parallel=True)
    assert Component(2, -1, 0, "END").reads(head, parallel=True)


@pytest.mark.parametrize("family", ["neox", "gpt2", "llama"])
def test_edges_are_those_that_the_order_allows(family: Family, tmp_path: Path) -> None:
    """Counted one by one, against what is cut off at once from the ordered senders."""
    shapes = shapes_of(tmp_path, family)
    edges = all_edges(shapes)
    assert {edge.receiver.kind for edge in edges} >= {"head.q", "mlp_in", "logits"}
    for receiver in {edge.receiver for edge in edges}:
        sent = [edge.sender for edge in edges if edge.receiver == receiver]
        assert sent == [one for one in senders(shapes) if one.before(receiver, shapes)]
    assert sum(1 for _ in wiring_of(None, shapes).edges(shapes)) == len(edges)
    own = [e for e in edges if e.sender.kind == "head.z" and e.sender.layer == e.receiver.layer]
    assert bool(own) != shapes.parallel


@pytest.mark.parametrize("family", ["neox", "gpt2"])
def test_the_order_holds_for_every_two_sites(family: Family, tmp_path: Path) -> None:
    shapes = shapes_of(tmp_path, family)
    for one in all_sites(shapes):
        for other in all_sites(shapes):
            parts = {one.word.part, other.word.part}
            beside = one.layer == other.layer and parts == {"attention", "mlp"}
            deeper = one.depth(shapes) < other.depth(shapes)
            assert one.before(other, shapes) == (deeper and not (beside and shapes.parallel))
    assert Site("head.z", 0, 0).before(Site("mlp_in", 0), shapes) != shapes.parallel
