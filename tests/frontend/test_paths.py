"""Paths and traces: what they compile to, and what a program may ask of them."""

import itertools
from pathlib import Path

import pytest

from causaldsl.check.values import CheckedPath
from causaldsl.diagnostics import ProgramError
from causaldsl.graph.compiler import compile_program
from causaldsl.graph.graph import Graph
from causaldsl.graph.operations import HopWord, Operation, PatchedRunWord, TraceWord
from causaldsl.graph.printing import graph_json, graph_text
from causaldsl.report.dot import graph_dot
from causaldsl.results.records import Results
from tests.frontend.test_graph import check, golden, without_keys
from tests.frontend.world import PRELUDE
from tests.report.synthetic import trace as synthetic_trace

CORPUS = Path(__file__).parent / "corpus"
POLICY = "{ freeze attention  layernorm recompute }"
SMALL = (
    PRELUDE
    + f"""
site mlp = mlp_hidden[1] @ END
subspace v = random(mlp)
path movers = v -> {{head[2.1].q, mlp_in[2]}} @ END -> heads[3].q @ END -> logits {POLICY}
measure effects on flip.test {{
  movers_arm = movers
  direct = head[0.2].z @ S2 -> logits {{ freeze all  layernorm frozen }}
  both = movers + patch mlp
  report fldd
}}
sweep scan on flip.test {{
  for h in heads[0..1]: head[h].z @ END -> heads[2..3].q @ END -> logits {POLICY}  report fldd
}}
trace t = patch mlp along v to logit_diff on flip.test {{ top 4 }}
expect t.explained > t.heads[2.1] + t.mlps[3]
render t
"""
)


def run_of(graph: Graph, arm: str, measure: str = "effects") -> Operation:
    return graph.operation(graph.arm(measure, arm))


def one_arm(arm: str) -> str:
    return f"{PRELUDE}measure effects on flip.test {{ a = {arm}  report fldd }}\n"


def hops(graph: Graph, operation: Operation) -> list[Operation]:
    """The hops of a run with a single path, the last one first."""
    found = []
    (key,) = operation.inputs_as("do")
    while isinstance(graph.operation(key).word, HopWord):
        found.append(graph.operation(key))
        key = found[-1].inputs_as("do")[0]
    return found


def test_text_and_dot(world: Path) -> None:
    program = check(SMALL, world)
    graph = compile_program(program)
    golden("paths.txt", without_keys(graph_text(graph)))
    golden("paths.dot", without_keys(graph_dot(program, graph)))


def test_every_form_compiles_and_prints(world: Path) -> None:
    program = check((CORPUS / "paths.cpatch").read_text(), world)
    graph = compile_program(program)
    assert set(program.paths) == {"movers", "from_site", "from_heads", "long", "shared", "sums"}
    assert graph.operation(graph.key_of("t")).word.word == "trace"
    assert '"to": [' in graph_json(graph)


def test_a_chain_is_one_hop_for_every_stage_between(world: Path) -> None:
    graph = compile_program(check(SMALL, world))
    run = run_of(graph, "movers_arm")
    assert run.word == PatchedRunWord()
    last, first = hops(graph, run)
    assert [str(place) for place in first.to] == ["head[2.1].q @ END", "mlp_in[2] @ END"]
    assert [str(place) for place in last.to] == [f"head[3.{h}].q @ END" for h in range(4)]
    assert first.word == last.word == HopWord(freeze="attention", layernorm="recompute")
    (sender,) = first.inputs_as("do")
    assert graph.operation(sender).word.word == "patch"
    assert graph.operation(sender).find("along") == graph.key_of("v")


def test_a_path_straight_to_the_logits_is_a_run_with_its_policy(world: Path) -> None:
    run = run_of(compile_program(check(SMALL, world)), "direct")
    assert run.word == PatchedRunWord(freeze="all", layernorm="frozen")
    assert run.label == "patched_run freeze: all, layernorm: frozen"


def test_with_nothing_held_a_path_to_the_logits_is_the_plain_patch(world: Path) -> None:
    path = one_arm("head[1.2].z @ END -> logits { freeze none  layernorm recompute }")
    plain = one_arm("patch head[1.2].z @ END")
    keys = [set(compile_program(check(text, world)).network) for text in (path, plain)]
    assert keys[0] == keys[1]


def test_every_policy_has_keys_of_its_own(world: Path) -> None:
    found = set()
    for freeze, norm in itertools.product(
        ("attention", "mlp", "all", "none"), ("recompute", "frozen")
    ):
        for way in ("", "head[3.1].q @ END -> "):
            text = f"head[1.2].z @ END -> {way}logits {{ layernorm {norm}  freeze {freeze} }}"
            found.add(compile_program(check(one_arm(text), world)).arm("effects", "a"))
    assert len(found) == 16


def test_receivers_enter_the_key(world: Path) -> None:
    texts = [
        f"head[1.2].z @ END -> {receiver} -> logits {POLICY}"
        for receiver in (
            "head[3.1].q @ END",
            "head[3.2].q @ END",
            "mlp_in[3] @ END",
            "{3.1}.q @ END",
        )
    ]
    runs = [compile_program(check(one_arm(t), world)).arm("effects", "a") for t in texts]
    assert len(set(runs)) == 3
    assert runs[0] == runs[3]


def test_an_arm_says_what_it_does_in_full(world: Path) -> None:
    program = check(SMALL, world)
    labels = {run.name: run.label for run in program.measurements["effects"].runs}
    movers = program.paths["movers"].text
    assert movers.startswith("v -> ")
    assert movers.endswith(POLICY)
    assert labels["movers_arm"] == movers
    assert labels["both"] == f"{movers} + patch mlp"


@pytest.mark.parametrize(
    ("sender", "sites"),
    [
        ("head[1.2].z @ S2", ["head[1.2].z @ S2"]),
        ("heads[1] @ END", [f"head[1.{h}].z @ END" for h in range(4)]),
        ("{0.3, 1.1} @ END", ["head[0.3].z @ END", "head[1.1].z @ END"]),
        ("mlps[0..1] @ END", ["mlp_out[0] @ END", "mlp_out[1] @ END"]),
        ("kv_heads[1].v @ IO", ["kv_head[1.0].v @ IO", "kv_head[1.1].v @ IO"]),
        ("{resid_post[0] @ S2, head[1.1].z @ END}", ["resid_post[0] @ S2", "head[1.1].z @ END"]),
        ("row(W_out[1], random(mlp_hidden[1] @ END))", ["mlp_hidden[1] @ END"]),
        ("(random(embed @ S2) + random(embed @ S2, seed: 1))", ["embed @ S2"]),
        ("ablate embed @ S2 to zero + {1.1} @ END", ["embed @ S2", "head[1.1].z @ END"]),
    ],
)
def test_what_can_send(sender: str, sites: list[str], world: Path) -> None:
    program = check(f"{PRELUDE}path p = {sender} -> mlp_in[3] @ END -> logits {POLICY}\n", world)
    path = program.paths["p"]
    assert [str(applied.operand("site")) for applied in path.sender] == sites


@pytest.mark.parametrize(
    ("receivers", "count"),
    [
        ("heads[2..3].q @ END", 8),
        ("{2.1, 3.0}.q @ END", 2),
        ("mlps[2..3] @ S2", 2),
        ("mlps[2] @ S2..END", 1),
        ("kv_heads[3].k @ END", 2),
        ("kv_head[2.1].v @ S2+1", 1),
        ("{resid_pre[3], resid_mid[2], resid_post[3]} @ END", 3),
        ("{heads[2].q @ END, mlps[3] @ S2, kv_head[3.0].k @ S2}", 6),
    ],
)
def test_what_can_receive(receivers: str, count: int, world: Path) -> None:
    program = check(one_arm(f"patch embed @ S2 -> {receivers} -> logits {POLICY}"), world)
    (path,) = program.measurements["effects"].runs[1].interventions
    assert isinstance(path, CheckedPath)
    assert [len(hop) for hop in path.hops] == [count]


def test_a_query_head_has_its_own_keys_without_grouping(world: Path) -> None:
    arm = one_arm(f"patch embed @ S2 -> heads[2].k @ S2 -> logits {POLICY}")
    with pytest.raises(ProgramError, match="query heads share their keys"):
        check(arm, world)
    program = check(arm.replace("tiny-llama", "tiny-gpt2"), world)
    (path,) = program.measurements["effects"].runs[1].interventions
    assert isinstance(path, CheckedPath)
    assert str(path.hops[0][0].site) == "head[2.0].k"


def test_a_path_is_held_to_held_out_pairs(world: Path) -> None:
    text = SMALL.replace("random(mlp)", "das(mlp, on: flip.train)").replace(
        "flip.test", "flip.train"
    )
    with pytest.raises(ProgramError) as caught:
        check(text, world)
    assert {d.code for d in caught.value.diagnostics} == {"trained-on-these"}


def test_a_trace_looks_at_what_comes_after_the_intervention(world: Path) -> None:
    program = check(SMALL, world)
    trace = program.traces["t"]
    assert trace.heads == tuple((layer, head) for layer in (2, 3) for head in range(4))
    assert trace.mlps == (2, 3)
    assert trace.positions == ("END",)
    assert trace.text == "patch mlp along v"
    graph = compile_program(program)
    operation = graph.operation(graph.key_of("t"))
    assert isinstance(operation.word, TraceWord)
    assert [given.role for given in operation.inputs] == ["base", "source", "do"]
    assert operation.word.top == 4


def test_a_trace_looks_at_the_positions_that_the_intervention_can_reach(world: Path) -> None:
    def positions(at: str) -> tuple[str, ...]:
        text = f"{PRELUDE}trace t = patch embed @ {at} to logit_diff on flip.test {{ }}\n"
        return check(text, world).traces["t"].positions

    assert positions("1") == ("IO", "S2", "END")
    assert positions("S2") == ("S2", "END")
    assert positions("END") == ("END",)


def test_the_numbers_of_a_trace_take_the_trace(world: Path) -> None:
    graph = compile_program(check(SMALL, world))
    numbers = [graph.operation(key) for key in graph.order()]
    taken = {
        operation.word.name: operation.find("trace")  # type: ignore[attr-defined]
        for operation in numbers
        if operation.word.word == "trace_number"
    }
    key = graph.key_of("t")
    assert taken == {"explained": key, "head 2.1": key, "mlp 3": key}


def test_hops_of_a_sweep_are_not_drawn_one_by_one(world: Path) -> None:
    program = check(SMALL, world)
    dot = graph_dot(program, compile_program(program))
    assert dot.count("shape=cds") == 2
    assert "trace t" in dot


def test_the_picture_says_what_a_trace_found(world: Path) -> None:
    text = f"{PRELUDE}trace t = patch embed @ END to logit_diff on flip.test {{ }}\n"
    program = check(text, world)
    graph = compile_program(program)
    results = Results(program="p", measures={}, traces={"t": synthetic_trace(12)})
    assert "total -1.70 [-1.76, -1.64]\n83% of it" in graph_dot(program, graph, results)
    assert "total" not in graph_dot(program, graph)
