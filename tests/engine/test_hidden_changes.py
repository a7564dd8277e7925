"""What one intervention of an arm writes over is warned of: just where it changes nothing."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from tests.frontend.world import PRELUDE, make_world

PLACES = [
    *(f"head[1.2].{part} @ S2" for part in ("q", "k", "v", "pattern", "z", "out")),
    *("head[1.3].z @ S2", "attn_out[1] @ S2", "resid_mid[1] @ S2", "mlp_in[1] @ S2"),
    *("mlp_hidden[1] @ S2", "mlp_out[1] @ S2", "resid_post[1] @ S2", "attn_out[1] @ END"),
    *("resid_pre[1] @ S2", "attn_out[2] @ S2"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("hidden"))


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gpt2"])
def test_a_change_is_hidden_just_where_it_changes_nothing(model: str, world: Path) -> None:
    alone = [f"patch_{i} = patch {place}" for i, place in enumerate(PLACES)]
    alone += [f"zero_{i} = ablate {place} to zero" for i, place in enumerate(PLACES)]
    pairs = list(permutations(range(len(PLACES)), 2))
    joined = [f"both_{i}_{j} = ablate {PLACES[i]} to zero + patch {PLACES[j]}" for i, j in pairs]
    arms = "\n".join([*alone, *joined])
    text = f"{PRELUDE}measure m on flip.test {{\n{arms}\nreport logit_diff\n}}"
    if model == "tiny-llama":  # two heads share their keys and values
        text = text.replace("head[1.2].k", "kv_head[1.1].k").replace(
            "head[1.2].v", "kv_head[1.1].v"
        )
    text = text.replace('"tiny-llama"', f'"{model}"')
    program = Checker(Source("hidden.cpatch", text), world / "hidden.cpatch").check()
    warned = [warning for warning in program.warnings if warning.code == "hidden-change"]
    told = {warning.span.text.split()[0] for warning in warned}
    run = api.run(program, dtype="float64", store="none")
    found = {name: number["logit_diff"].mean for name, number in run.measures["m"].numbers.items()}
    for arm in ("patch", "zero"):
        assert all(abs(found[f"{arm}_{i}"] - found["clean"]) > 1e-6 for i in range(len(PLACES)))
    for i, j in pairs:
        both, alone = found[f"both_{i}_{j}"], (found[f"zero_{i}"], found[f"patch_{j}"])
        nothing = any(abs(both - one) < 1e-10 for one in alone)
        assert (f"both_{i}_{j}" in told) == nothing, (PLACES[i], PLACES[j])


def test_what_is_added_or_changed_in_part_hides_nothing(world: Path) -> None:
    arms = ["ablate attn_out[1] @ S2 to noise by 1", "patch attn_out[1] @ S2 along v"]
    for arm in (*arms, "steer attn_out[1] @ S2 along v by 2"):
        text = f"""{PRELUDE}subspace v = random(attn_out[1] @ S2)
measure m on flip.test {{ a = patch head[1.2].z @ S2 + {arm}  report logit_diff }}"""
        program = Checker(Source("hidden.cpatch", text), world / "hidden.cpatch").check()
        assert "hidden-change" not in {warning.code for warning in program.warnings}
