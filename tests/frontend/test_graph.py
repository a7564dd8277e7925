"""Programs and the graphs they compile to."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from causaldsl.graph.compiler import compile_program
from causaldsl.graph.graph import Graph
from causaldsl.graph.printing import graph_json, graph_text
from causaldsl.report.dot import graph_dot
from tests.frontend.world import PRELUDE

HERE = Path(__file__).parent
SMALL = (
    PRELUDE
    + """
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 2)
measure effects on flip.test {
  whole = patch mlp
  along_v = patch mlp along v
  row_only = patch mlp along row(W_out[2], v)
  report fldd
}
sweep by_layer on flip.test { for l in layers: patch resid_post[l] @ END  report fldd }
expect effects.along_v.fldd > 0
"""
)


FOLDED = (
    PRELUDE
    + """
prompts own = corpus("texts.txt")
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 2)
subspace u = mean_difference(resid_post[2] @ END, ABB, BAB, on: flip.train)
sweep growth on flip.test {
  for k in {1, 4}, s in 0..2: patch mlp along das(mlp, on: flip.train, neurons: k, seed: s)
  report fldd
}
sweep named on flip.test {
  for k in 1..3: patch mlp along v + patch mlp_hidden[1] @ END
  report fldd
}
table read {
  for l in layers, s in 0..1:
    r2 = ridge_r2(mlp_hidden[l] @ END, target: random(resid_mid[l] @ END, seed: s),
      at: resid_mid[l] @ END, on: own)
}
measure shared on flip.test {
  one = patch mlp along das(mlp, on: flip.train, neurons: 1, seed: 0)
  report fldd
}
audit of_v = illusion(v, against: u, on: flip)
expect mean(read.r2) > 0 and read.r2[0, 1] > 0 and of_v is illusory
expect max(growth.fldd) > shared.one.fldd
"""
)


def check(text: str, world: Path) -> CheckedProgram:
    return Checker(Source("case.cpatch", text), world / "case.cpatch").check()


def compiled(text: str, world: Path) -> Graph:
    return compile_program(check(text, world))


def without_keys(text: str) -> str:
    """Keys hold the weights' hash, which a new version of a library may change."""
    return re.sub(r"\b[0-9a-f]{16}\b", "KEY", text)


def golden(name: str, found: str) -> None:
    path = HERE / "graphs" / name
    if os.environ.get("UPDATE"):
        path.write_text(found)
    assert found == path.read_text()


def test_text(world: Path) -> None:
    golden("small.txt", without_keys(graph_text(compiled(SMALL, world))))


def test_dot(world: Path) -> None:
    program = check(SMALL, world)
    golden("small.dot", graph_dot_without_keys(program, compile_program(program)))


def test_what_only_a_sweep_table_or_audit_uses_is_folded_into_it(world: Path) -> None:
    program = check(FOLDED, world)
    dot = graph_dot(program, compile_program(program))
    golden("folded.dot", without_keys(dot))
    shown = re.findall(r'label="?([^"\]]*)"? ', dot)
    assert sum("random" in label for label in shown) == 1  # inside the table
    assert "inside: 5 das" in dot  # the sixth is a measure's as well


def test_an_audit_has_no_arrow_from_a_sweep_that_has_its_run_as_a_cell(world: Path) -> None:
    text = (
        PRELUDE
        + """
site r = resid_post[1] @ END
subspace v = mean_difference(r, ABB, BAB, on: flip.train)
sweep s on flip.test { for l in 0..2: patch resid_post[l] @ END along v  report logit_diff }
measure m on flip.test { a = patch r along v  report logit_diff }
audit of_v = illusion(v, on: flip)
"""
    )
    graph = compiled(text, world)
    (audit,) = graph.keys("audit")
    runs = {given.key for given in graph.operation(audit).inputs}
    assert graph.arm("s", "[1]") in runs  # it is one run
    dot = graph_dot(check(text, world), graph)
    arrows = re.findall(rf'(".*?") -> "node {audit}"', dot)
    assert len(arrows) > 3
    assert not any("sweep" in arrow or "run" in arrow for arrow in arrows)


def graph_dot_without_keys(program: CheckedProgram, graph: Graph) -> str:
    return without_keys(graph_dot(program, graph))


def test_json_has_every_operation_once(world: Path) -> None:
    graph = compiled(SMALL, world)
    operations = json.loads(graph_json(graph))["operations"]
    keys = [operation["key"] for operation in operations]
    assert len(keys) == len(set(keys)) == len(graph.network)
    seen: set[str] = set()
    for operation in operations:
        assert {key for _, key in operation["inputs"]} <= seen
        seen.add(operation["key"])


def test_every_form_of_the_language_compiles(world: Path) -> None:
    graph = compiled((HERE / "corpus" / "everything.cpatch").read_text(), world)
    words = {graph.operation(key).word.word for key in graph.order()}
    wanted = {"das", "mean_difference", "pca", "random", "neurons", "span", "project", "complement",
              "*", "+", "row", "null", "cos", "norm", "patch", "ablate", "steer",
              "gradient", "best_neurons"}  # fmt: skip
    assert wanted <= words


def test_equal_work_appears_once_whatever_it_is_called(world: Path) -> None:
    twice = SMALL + "subspace u = das(mlp_hidden[2] @ END, epochs: 2, on: flip.train)\n"
    assert set(compiled(SMALL, world).network) == set(compiled(twice, world).network)
    other = SMALL + "subspace u = das(mlp_hidden[2] @ END, epochs: 3, on: flip.train)\n"
    assert set(compiled(SMALL, world).network) < set(compiled(other, world).network)


def test_the_order_of_independent_statements_does_not_matter(world: Path) -> None:
    head, measures = SMALL.split("measure effects", 1)
    sites = [
        "site a = resid_post[1] @ END\n",
        "let k = 3\n",
        "subspace n = neurons(mlp, [1, 2])\n",
        "subspace q = random(mlp, seed: 3)\n",
    ]
    orders = []
    for seed in range(3):
        shuffled = sites[:]
        random.Random(seed).shuffle(shuffled)
        text = head + "".join(shuffled) + "measure effects" + measures
        orders.append(set(compiled(text, world).network))
    assert orders[0] == orders[1] == orders[2]


def test_another_model_gives_other_keys(world: Path) -> None:
    other = SMALL.replace("tiny-llama", "tiny-gpt2")
    assert not set(compiled(SMALL, world).network) & set(compiled(other, world).network)


def test_training_effects_stand_beside_held_out_ones(world: Path) -> None:
    graph = compiled(SMALL, world)
    (fit,) = graph.of_kind("fit").values()
    assert set(fit.parts) == {"train", "test"}


@pytest.mark.parametrize(
    "command",
    [["check"], ["graph", "--format", "text"], ["graph", "--plan"], ["format", "--check"]],
)
def test_the_front_end_imports_neither_torch_nor_transformers(
    command: list[str], world: Path
) -> None:
    path = world / "import_test.cpatch"
    path.write_text(SMALL)
    code = (
        "import sys; from causaldsl.cli import main; code = main(sys.argv[1:]); "
        "bad = {'torch', 'transformers', 'transformer_lens'} & set(sys.modules); "
        "print(bad, file=sys.stderr); sys.exit(9 if bad else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command[0], str(path), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
