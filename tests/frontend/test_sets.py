"""Sets mean what they are written out to: the same operations, with the same keys."""

from pathlib import Path

import pytest

from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from causaldsl.graph.compiler import compile_program
from tests.frontend.world import PRELUDE

SETS = """
set movers = {2.0, 2.3}
set rest = heads[2] except movers
set ends = {S2, END}
set late = {2..3}
site zs = movers.z @ END
subspace v = random(resid_post[0] @ END, seed: 1)
run corrupt = base with ablate embed @ S2 to noise by 3
"""


def arm(text: str, world: Path) -> list[str]:
    """What is done in an arm: the keys of its interventions, in no order."""
    program = f"{PRELUDE}{SETS}measure m on flip.test {{ a = {text}  report fldd }}\n"
    graph = compile_program(Checker(Source("c", program), world / "c.cpatch").check())
    return sorted(graph.operation(graph.arm("m", "a")).inputs_as("do"))


SAME = {
    "patch zs": "patch head[2.0].z @ END + patch head[2.3].z @ END",
    "patch head[rest].q @ END": "patch head[2.1].q @ END + patch head[2.2].q @ END",
    "patch head[heads[2] except movers].q @ END": "patch head[rest].q @ END",
    "patch mlp_out[2] @ ends": "patch mlp_out[2] @ S2 + patch mlp_out[2] @ END",
    "patch resid_post[late] @ END": "patch resid_post[2] @ END + patch resid_post[3] @ END",
    "patch resid_post[2..3] @ END": "patch resid_post[{2, 3}] @ END",
    "patch mlps[2..3] @ S2": "patch mlp_out[2..3] @ S2",
    "patch kv_heads[1].k @ END": "patch kv_head[1.0].k @ END + patch kv_head[1.1].k @ END",
    "patch {mlps[2], head[1.0].z} @ END": "patch mlp_out[2] @ END + patch head[1.0].z @ END",
    "patch {mlps[2], 1.0, heads[3]} @ END": (
        "patch mlp_out[2] @ END + patch head[1.0].z @ END + patch heads[3].z @ END"
    ),
    "ablate {{1.0, mlps[0..1]} except {1.0, mlps[0]}} @ S2 to zero": (
        "ablate mlp_out[1] @ S2 to zero"
    ),
    "patch {heads[1].z @ ends except {1.1, 1.2, 1.3}}": "patch head[1.0].z @ ends",
    "patch {{movers, mlps[1]} @ ends except ({2.0} @ S2)}": (
        "patch head[2.0].z @ END + patch head[2.3].z @ ends + patch mlp_out[1] @ ends"
    ),
    "patch head[heads[2] except {2.1, 2.2}.z].q @ END": "patch head[movers].q @ END",
    "patch mlps[{0..1, 3} except mlps[0]] @ END": "patch mlp_out[{1, 3}] @ END",
    "patch {zs, mlp_out[1] @ S2}": "patch zs + patch mlp_out[1] @ S2",
    "steer resid_post[layers] @ END along v by 2": " + ".join(
        f"steer resid_post[{layer}] @ END along v by 2" for layer in range(4)
    ),
    "corrupt": "ablate embed @ S2 to noise by 3",
    "patch zs from source": "patch zs",
    "ablate zs to mean of flip.train.base": "patch zs from mean(flip.train.base)",
    "movers @ END -> heads[3].q @ END -> logits { freeze all  layernorm frozen }": (
        "head[2.0].z @ END + head[2.3].z @ END -> {3.0, 3.1, 3.2, 3.3}.q @ END -> logits "
        "{ freeze all  layernorm frozen }"
    ),
    "zs -> mlps[3] @ END -> logits { freeze all  layernorm frozen }": (
        "movers.z @ END -> mlp_in[3] @ END -> logits { freeze all  layernorm frozen }"
    ),
    "cut movers @ ends from {IO..S2-1}": " + ".join(
        f"cut head[{head}] @ {at} from IO..S2-1" for head in ("2.0", "2.3") for at in ("S2", "END")
    ),
}


@pytest.mark.parametrize("text", SAME)
def test_a_set_is_what_it_is_written_out_to(text: str, world: Path) -> None:
    assert arm(text, world) == arm(SAME[text], world)


def test_the_order_of_what_is_joined_by_plus_makes_no_other_interventions(world: Path) -> None:
    assert arm("patch zs + steer resid_post[1] @ END along v by 2", world) == arm(
        "steer resid_post[1] @ END along v by 2 + patch zs", world
    )


def test_where_values_are_from_is_in_the_key(world: Path) -> None:
    """Equal keys would be one operation, and so one value."""
    forms = [
        "",
        " from base",
        " from corrupt",
        " from mean(flip.train.base)",
        " from mean(flip.train.source)",
        " from mean(flip.test.base)",
        " from source at resid_post[0] @ END",
        " from base at resid_post[0] @ END",
        " from base at resid_post[0] @ S2",
    ]
    keys = {arm(f"patch resid_post[1] @ END{form}", world)[0] for form in forms}
    assert len(keys) == len(forms)
    ways = ["noise by 1", "noise by 2", "noise by 2 seed 1", "mean", "mean by template", "zero"]
    keys = {arm(f"ablate resid_post[1] @ END to {way}", world)[0] for way in ways}
    assert len(keys) == len(ways)
    cuts = ["S2", "IO", "{S2, IO}", "IO..S2"]
    keys = {arm(f"cut head[1.0] @ END from {keys}", world)[0] for keys in cuts}
    assert len(keys) == len(cuts)


def test_a_trace_goes_through_a_named_set(world: Path) -> None:
    text = "trace t = patch embed @ S2 to logit_diff on flip.test {{ through {}  at END }}\n"
    found = []
    for heads in ("rest", "{2.1, 2.2}"):
        program = PRELUDE + SETS + text.format(heads)
        checked = Checker(Source("c", program), world / "c.cpatch").check()
        found.append(checked.traces["t"].heads)
    assert found == [((2, 1), (2, 2))] * 2


def test_a_loop_goes_over_the_members_of_a_set(world: Path) -> None:
    text = "sweep s on flip.test {{ for x in {}: {}  report fldd }}\n"
    for values, does, labels in (
        ("movers", "patch head[x].z @ END", ("2.0", "2.3")),
        ("rest", "patch x.z @ END", ("2.1", "2.2")),
        ("ends", "patch mlp_out[1] @ x", ("S2", "END")),
        ("late", "patch mlp_out[x] @ END", ("2", "3")),
        ("kv_heads[1]", "patch kv_head[x].v @ END", ("1.0", "1.1")),
        ("layers except late", "patch mlp_out[x] @ END", ("0", "1")),
        ("{1..2, 0}", "patch mlp_out[x] @ END", ("1", "2", "0")),
        ("{movers, mlps[1]}", "patch x @ END", ("2.0", "2.3", "mlp_out[1]")),
        ("heads[1].z except {1.1, 1.2}", "patch head[x].q @ END", ("1.0", "1.3")),
        ("heads[1].q", "patch x @ S2", tuple(f"head[1.{head}].q" for head in range(4))),
        ("{attn_out[1], embed}", "ablate x @ END to zero", ("attn_out[1]", "embed")),
        ("zs", "patch x", ("head[2.0].z @ END", "head[2.3].z @ END")),
        ("mlps[1..2] @ S2", "patch x", ("mlp_out[1] @ S2", "mlp_out[2] @ S2")),
        ("mlps[1..2]", "only {mlps except {x}} else source", ("1", "2")),
    ):
        program = PRELUDE + SETS + text.format(values, does)
        checked = Checker(Source("c", program), world / "c.cpatch").check()
        assert checked.measurements["s"].axes[0].labels == labels


WRITTEN_OUT = {
    ("{movers, mlps[1]}", "patch x @ END"): {
        "2.0": "patch head[2.0].z @ END",
        "2.3": "patch head[2.3].z @ END",
        "mlp_out[1]": "patch mlp_out[1] @ END",
    },
    ("{movers, mlps[1]}", "only {{movers, mlps[1]} except {x}} else source"): {
        "2.0": "only {2.3, mlps[1]} else source",
        "2.3": "only {2.0, mlps[1]} else source",
        # It is over what the whole set is over: other MLPs don't run on where the last is out.
        "mlp_out[1]": "only movers else source over {heads, mlps}",
    },
    ("{movers, mlps[1]}", "without {x} else mean"): {
        "2.0": "without {2.0} else mean",
        "2.3": "without {2.3} else mean",
        "mlp_out[1]": "without {mlps[1]} else mean",
    },
    ("movers.z", "patch x.q @ END + ablate head[x].out @ S2 to zero"): {
        "2.0": "patch head[2.0].q @ END + ablate head[2.0].out @ S2 to zero",
        "2.3": "patch head[2.3].q @ END + ablate head[2.3].out @ S2 to zero",
    },
    ("mlps[1..2]", "only {mlps except {x}} else source"): {
        "1": "only mlps[{0, 2, 3}] else source",
        "2": "only mlps[{0, 1, 3}] else source",
    },
    ("zs", "patch x"): {
        "head[2.0].z @ END": "patch head[2.0].z @ END",
        "head[2.3].z @ END": "patch head[2.3].z @ END",
    },
}


@pytest.mark.parametrize("loop", WRITTEN_OUT)
def test_each_cell_of_a_loop_is_what_it_is_written_out_to(
    loop: tuple[str, str], world: Path
) -> None:
    values, does = loop
    text = f"sweep s on flip.test {{ for x in {values}: {does}  report fldd }}\n"
    program = Checker(Source("c", PRELUDE + SETS + text), world / "c.cpatch").check()
    graph = compile_program(program)
    for cell, written in WRITTEN_OUT[loop].items():
        found = sorted(graph.operation(graph.arm("s", f"[{cell}]")).inputs_as("do"))
        assert found == arm(written, world)
