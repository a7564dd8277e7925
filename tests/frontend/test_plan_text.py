"""The printed plan: goldens, and numbers in it that follow from the model's shapes by hand."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.check.pairs import Pair, PairSet, Prompt
from causaldsl.check.program import check_file
from causaldsl.cli import main
from causaldsl.model.catalog import catalog
from causaldsl.plan.examples import examples_of
from tests.frontend.test_graph import SMALL, check
from tests.frontend.world import PRELUDE, sections

HERE = Path(__file__).parent
PROGRAMS = HERE.parents[1] / "programs"
PRESENT = next(entry.present for entry in catalog() if entry.name == "smollm2-135m")

EVERY_KIND = (
    PRELUDE
    + """
prompts own = corpus("texts.txt")
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 2)
subspace w = das(resid_post[2] @ END, on: flip.train, epochs: 2, dim: 2)
subspace best = best_neurons(mlp, on: flip.train, k: 3)
measure arms on flip.test {
  whole = patch mlp
  along_v = patch mlp along v
  hooked = patch hook("blocks.2.hook_resid_post") @ END
  straight = head[1.1].z @ END -> logits { freeze all  layernorm frozen }
  by_path = head[0.1].z @ S2 -> heads[2].q @ END -> logits { freeze all  layernorm recompute }
  report fldd, interchange_accuracy
}
trace t = patch mlp along v to logit_diff on flip.test { through heads, mlps  top 3 }
histogram h on flip.test { plain = v at mlp  changed = v at mlp with patch resid_pre[2] @ END }
table read {
  for s in 0..1:
    told = logistic_accuracy(mlp, direction: random(resid_mid[2] @ END, seed: s),
      at: resid_mid[2] @ END, on: own, scale: 1, unit: absolute)
}
audit of_v = illusion(v, on: flip, mlps: 1, directions: 2, sizes: [4])
"""
)


def golden(name: str, found: str) -> None:
    path = HERE / "plans" / f"{name}.txt"
    if os.environ.get("UPDATE"):
        path.write_text(found)
    assert found == path.read_text()


def plan(text: str, world: Path, budget: int | None = None) -> str:
    return api.plan(check(text, world), memory=budget)


@pytest.mark.parametrize(
    "name", ["mlp_in_the_middle", "ioi_localise", "ioi_circuit", "audit", "toy_illusion"]
)
def test_plans_of_programs(name: str) -> None:
    if name != "toy_illusion" and not PRESENT:
        pytest.skip("smollm2-135m is not on this machine")
    program = check_file(PROGRAMS / f"{name}.cpatch", lambda message: None, {})
    golden(name, api.plan(program))


def test_texts_that_are_not_written_yet_share_nothing(world: Path) -> None:
    probe = (
        "let told = logistic_accuracy(mlp_hidden[2] @ END, at: resid_mid[2] @ END, on: own,\n"
        "  direction: random(resid_mid[2] @ END, seed: 0), scale: 1, unit: absolute)\n"
    )
    written, read = (
        plan(f"{PRELUDE}prompts own = {source}\n{probe}", world)
        for source in ("sample(lm, n: 12, length: 8)", 'corpus("texts.txt")')
    )
    assert "written by the model: own" in written
    assert "shared prefixes" not in written
    assert "shared prefixes" in read


def test_the_docs_show_it_as_it_is() -> None:
    section = (HERE.parents[1] / "docs" / "engine.md").read_text().split("## The plan", 1)[1]
    (excerpt, *_) = sections(section, "text")
    lines = iter((HERE / "plans" / "mlp_in_the_middle.txt").read_text().splitlines())
    assert all(line in lines for line in excerpt.splitlines())  # in this order
    assert len(excerpt.splitlines()) > 5


def test_a_plan_of_everything(world: Path) -> None:
    golden("everything", plan(EVERY_KIND, world))


def test_a_budget_that_is_too_small(world: Path) -> None:
    golden("small_budget", plan(SMALL, world, 16 * 1024))


def test_a_pass_has_the_blocks_and_rows_of_its_arms(world: Path) -> None:
    text = PRELUDE + (
        "sweep s on flip.test { for l in layers: patch resid_post[l] @ END  report fldd }\n"
    )
    (line,) = [line for line in plan(text, world).splitlines() if "patched run" in line]
    columns = re.split(r"\s{2,}", line.strip())
    # Four layers, so the arms compute 3, 2, 1 and 0 blocks; six pairs; two logits each.
    assert columns[3:] == [
        "1 to end", "0..3 of 4", "1", "4 x 6", "answer, foil",
        "patched run: s[0], s[1], s[2], ... (4 in all)",
    ]  # fmt: skip


def test_set_another_value_and_a_bad_size(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world / "planned.cpatch"
    path.write_text("param layer = 2\n" + SMALL.replace("mlp_hidden[2]", "mlp_hidden[layer]"))
    assert main(["graph", "--plan", str(path)]) == 0
    two = capsys.readouterr().out
    assert main(["graph", "--plan", str(path), "--set", "layer=1"]) == 0
    assert "from block" in two != capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["graph", "--plan", "--memory", "plenty", str(path)])
    assert "'plenty' is not an amount of memory" in capsys.readouterr().err


def test_examples_are_those_that_names_allow() -> None:
    def pair(first: int, second: int, pattern: str) -> Pair:
        prompt = Prompt("", (1,), (), pattern)
        return Pair(prompt, prompt, first, second, second)

    apart = PairSet("p", (pair(1, 2, "ABB"), pair(3, 4, "ABB"), pair(2, 3, "ABB")))
    assert examples_of(apart, 1.0) == 3 + 2  # the third shares a name with both others
    assert examples_of(apart, 0.0) == 3
    alike = PairSet("q", (pair(1, 2, "ABB"), pair(3, 4, "BAB")))
    assert examples_of(alike, 1.0) == 2  # other classes teach nothing of this one
    plain = PairSet("r", (pair(1, 2, ""), pair(3, 4, "")))
    assert examples_of(plain, 1.0) == 2


def test_another_backend_and_precision(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world / "hooked.cpatch"
    path.write_text(SMALL)
    assert main(["graph", "--plan", str(path)]) == 0
    plain = capsys.readouterr().out
    assert main(["graph", "--plan", str(path), "--backend", "hooks", "--dtype", "bfloat16"]) == 0
    hooked = capsys.readouterr().out
    assert " in float32\n" in plain
    assert " in bfloat16\n" in hooked
    assert "whole passes take 1.0 times as much" in hooked
    assert "whole passes take 1.0 times as much" not in plain
