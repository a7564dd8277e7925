"""Whole programs on tiny models: both backends, the oracle, properties, exit codes and files."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.pairs import Pair
from causaldsl.check.program import Checker
from causaldsl.cli import main
from causaldsl.diagnostics import RunFailure, Source
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.records import gather
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from causaldsl.results.records import Results
from tests.frontend.world import PRELUDE, make_world
from tests.oracle import Place, in_double, logits, read


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("run"))


def check(text: str, world: Path) -> CheckedProgram:
    return Checker(Source("case.cpatch", text), world / "case.cpatch").check()


def run(text: str, world: Path, **settings: object) -> tuple[Results, Session]:
    program = check(text, world)
    chosen = Settings(**{"dtype": "float64", "resamples": 200, **settings})  # type: ignore[arg-type]
    session = open_session(program, compile_program(program), chosen, lambda *_: None)
    interpret(session)
    return gather(program, session, 0.0), session


def oracle(
    module: torch.nn.Module, pair: Pair, place: Place, basis: Tensor | None = None
) -> Tensor:
    """Logits (V,) of the base with the source's last-token activation patched in by raw hooks."""
    base, source = (torch.tensor([p.ids]) for p in (pair.base, pair.source))
    value = read(module, source, place)[:, -1]

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        moved = value - x[:, -1]
        x[:, -1] += moved if basis is None else moved @ basis @ basis.T
        return x

    return logits(module, base, [(place, change)])[0]


EVERYTHING = (Path(__file__).parents[1] / "frontend/corpus/everything.cpatch").read_text()


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gpt2"])
def test_every_arm_is_the_same_on_both_backends(model: str, world: Path) -> None:
    prompts = (world / "prompts.cpatch").read_text().replace("tiny-llama", model)
    (world / f"{model}.cpatch").write_text(prompts)
    text = EVERYTHING.replace("prompts.cpatch", f"{model}.cpatch")
    if model == "tiny-gpt2":
        text = text.replace("kv_head", "head")
    cone, _ = run(text, world, backend="cone")
    hooks, _ = run(text, world, backend="hooks")
    assert cone.measures.keys() == hooks.measures.keys()
    for name, table in cone.measures.items():
        for arm, metrics in table.items():
            for metric, number in metrics.items():
                other = hooks.measures[name][arm][metric]
                same = pytest.approx(other.mean, abs=1e-8, nan_ok=True)
                assert number.mean == same, (name, arm, metric)
    assert cone.numbers == pytest.approx(hooks.numbers, abs=1e-7)


ARMS = """
site mlp = mlp_hidden[2] @ END
subspace v = random(mlp, dim: 2, seed: 1)
subspace all_of_it = span(v, complement(v))
measure effects on flip.test {
  whole = patch mlp
  whole_too = patch mlp along all_of_it
  along_v = patch mlp along v
  parts = patch mlp along v + patch mlp along complement(v)
  report logit_diff, kl
}
"""


def test_properties_of_patching(world: Path) -> None:
    results, _ = run(PRELUDE + ARMS, world)
    table = {arm: n["logit_diff"].mean for arm, n in results.measures["effects"].items()}
    assert table["whole_too"] == pytest.approx(table["whole"], abs=1e-9)
    assert table["parts"] == pytest.approx(table["whole"], abs=1e-9)
    assert abs(table["along_v"] - table["clean"]) > 1e-3
    assert abs(table["along_v"] - table["whole"]) > 1e-3
    assert results.measures["effects"]["clean"]["kl"].mean == pytest.approx(0, abs=1e-12)


def test_patched_logits_are_those_of_the_source(world: Path) -> None:
    text = PRELUDE + "measure m on flip.test { a = patch logits @ END  report logit_diff }\n"
    found = [run(text, world, backend=name)[0].measures["m"] for name in ("cone", "hooks")]
    cone, hooks = (table["a"]["logit_diff"].mean for table in found)
    assert cone == pytest.approx(hooks, abs=1e-9)
    assert abs(cone - found[0]["clean"]["logit_diff"].mean) > 1e-3


def test_the_numbers_are_the_oracles(world: Path) -> None:
    """The mean logit difference of a patched run against raw PyTorch hooks, prompt by prompt."""
    results, session = run(PRELUDE + ARMS, world)
    basis = session.values[session.graph.key_of("v")].basis
    pairs = session.graph.pairs[session.graph.key_of("flip.test")].pairs
    module = in_double(session.loaded.hf)
    whole, along = [], []
    for pair in pairs:
        for chosen, out in ((None, whole), (basis, along)):
            found = oracle(module, pair, ("mlp_hidden", 2, None), chosen)
            out.append(float(found[pair.answer] - found[pair.foil]))
    table = results.measures["effects"]
    assert table["whole"]["logit_diff"].mean == pytest.approx(sum(whole) / len(whole), abs=1e-9)
    assert table["along_v"]["logit_diff"].mean == pytest.approx(sum(along) / len(along), abs=1e-9)


def test_row_and_null_make_up_the_direction(world: Path) -> None:
    text = (
        PRELUDE
        + """
site mlp = mlp_hidden[2] @ END
subspace v = random(mlp, seed: 3)
subspace r = row(W_out[2], v)
subspace n = null(W_out[2], v)
measure m on flip.test {
  null_only = patch mlp along n
  row_only = patch mlp along r
  report logit_diff
}
let squared = norm(r) * norm(r) + norm(n) * norm(n)
let seen = norm(n * W_out[2])
"""
    )
    results, _ = run(text, world)
    assert results.numbers["squared"] == pytest.approx(1, abs=1e-9)
    assert results.numbers["seen"] == pytest.approx(0, abs=1e-5)
    means = {arm: n["logit_diff"].mean for arm, n in results.measures["m"].items()}
    assert means["null_only"] == pytest.approx(means["clean"], abs=1e-5)
    assert abs(means["row_only"] - means["clean"]) > 1e-4
    assert results.subspaces["r"].rank == results.subspaces["n"].rank == 1


def test_a_direction_of_rank_0_changes_nothing(world: Path) -> None:
    text = (
        PRELUDE
        + """
site resid = resid_post[1] @ END
subspace e = neurons(resid, [0])
subspace other = project(e, onto: neurons(resid, [1]))
measure m on flip.test { a = patch resid along other  report logit_diff, kl }
"""
    )
    results, _ = run(text, world)
    assert results.subspaces["other"].rank == 0
    means = {arm: n["logit_diff"].mean for arm, n in results.measures["m"].items()}
    assert means["a"] == pytest.approx(means["clean"], abs=1e-12)
    results, _ = run(text + "expect cos(e, other) == 0\n", world)
    (claim,) = results.expectations
    assert claim.verdict == "undecided"
    assert "zero vector" in claim.why


def test_das_learns_and_is_repeatable(world: Path) -> None:
    text = (
        PRELUDE.replace("train 8", "train 24")
        + """
site resid = resid_post[1] @ END
subspace v = das(resid, on: flip.train, epochs: 8, lr: 0.05, batch: 7)
subspace plane = das(resid, on: flip.train, epochs: 2, dim: 2)
measure m on flip.test { a = patch resid along v  report logit_diff }
"""
    )
    first, session = run(text, world)
    second, _ = run(text, world)
    losses = first.subspaces["v"].losses
    assert losses is not None
    assert losses[-1] < losses[0]
    assert losses == second.subspaces["v"].losses
    assert first.subspaces["v"].effects is not None
    assert set(first.subspaces["v"].effects) == {"train", "test"}
    basis = session.values[session.graph.key_of("plane")].basis
    assert torch.allclose(basis.T @ basis, torch.eye(2, dtype=basis.dtype), atol=1e-10)
    other, _ = run(text, world, seed=5)
    assert other.subspaces["v"].losses != losses


def test_order_and_grouping_of_prompts_do_not_matter(world: Path) -> None:
    """Prompts of several lengths in one file: each number is that of the prompt alone."""
    lines = (world / "uneven.jsonl").read_text().splitlines()
    means = []
    for i, line in enumerate(lines):
        (world / f"one{i}.jsonl").write_text(line + "\n")
        text = f"""model lm = "tiny-llama"
pairs p = jsonl("one{i}.jsonl")
measure m on p {{ a = patch resid_post[1] @ END  report logit_diff }}
"""
        found, _ = run(text, world)
        means.append(found.measures["m"]["a"]["logit_diff"].mean)
    together, _ = run(
        """model lm = "tiny-llama"
pairs p = jsonl("uneven.jsonl")
measure m on p { a = patch resid_post[1] @ END  report logit_diff }
""",
        world,
    )
    number = together.measures["m"]["a"]["logit_diff"]
    assert number.mean == pytest.approx(sum(means) / len(means), abs=1e-10)
    assert number.n == len(lines)
    assert number.low <= number.mean <= number.high


def test_metrics_by_hand(world: Path) -> None:
    text = (
        PRELUDE
        + "measure m on flip.test { a = patch resid_post[1] @ END  "
        + "report logit_diff, fldd, flip_rate, positive_rate, interchange_accuracy, prob, kl }\n"
    )
    results, session = run(text, world)
    pairs = session.graph.pairs[session.graph.key_of("flip.test")].pairs
    module = in_double(session.loaded.hf)
    rows = []
    for pair in pairs:
        clean_logits = logits(module, torch.tensor([pair.base.ids]))[0]
        rows.append((clean_logits, oracle(module, pair, ("resid_post", 1, None)), pair))
    clean = torch.stack([c[p.answer] - c[p.foil] for c, _, p in rows])
    patched = torch.stack([x[p.answer] - x[p.foil] for _, x, p in rows])
    hits = [float(x.argmax() == p.counterfactual) for _, x, p in rows]
    probs = [float(x.softmax(0)[p.answer]) for _, x, p in rows]
    kls = [float((c.softmax(0) * (c.log_softmax(0) - x.log_softmax(0))).sum()) for c, x, _ in rows]
    expected = {
        "logit_diff": float(patched.mean()),
        "fldd": float(1 - patched.mean() / clean.mean()),
        "flip_rate": float((patched * clean < 0).double().mean()),
        "positive_rate": float((patched > 0).double().mean()),
        "interchange_accuracy": sum(hits) / len(hits),
        "prob": sum(probs) / len(probs),
        "kl": sum(kls) / len(kls),
    }
    found = {metric: n.mean for metric, n in results.measures["m"]["a"].items()}
    divisor = results.measures["m"]["clean"]["logit_diff"]
    if divisor.low <= 0 <= divisor.high:  # it is withheld
        expected["fldd"] = math.nan
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_a_hook_that_is_not_there_fails_the_run(world: Path) -> None:
    text = (
        PRELUDE + 'measure m on flip.test { a = patch hook("blocks.1.nope") @ END  report fldd }\n'
    )
    with pytest.raises(RunFailure, match=r"blocks\.1\.nope"):
        run(text, world)


def test_a_site_that_the_cone_cannot_serve_falls_back_and_says_so(world: Path) -> None:
    text = (
        PRELUDE
        + 'measure m on flip.test { a = patch hook("blocks.1.hook_resid_post") @ END\n'
        + "  b = patch resid_post[1] @ END  report logit_diff }\n"
    )
    results, _ = run(text, world)
    table = results.measures["m"]
    assert table["a"]["logit_diff"].mean == pytest.approx(table["b"]["logit_diff"].mean, abs=1e-8)
    assert any("hooks backend" in note for note in results.notes)


def test_exit_codes_and_files(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = world / "files.cpatch"
    held = (
        PRELUDE
        + """
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 1)
measure m on flip.test { a = patch mlp along v  report logit_diff }
sweep s on flip.test { for l in layers: patch resid_post[l] @ END  report logit_diff }
plot s
render m as "m.png"
expect m.a.logit_diff < 100
"""
    )
    program.write_text(held)
    out = world / "out"
    assert main(["run", str(program), "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "results.json").read_text())
    assert {"mean", "n", "low", "high"} == set(printed["measures"]["m"]["a"]["logit_diff"])
    assert printed["expectations"][0]["verdict"] == "held"
    pictures = {"graph.dot", "graph.svg", "s.svg", "m.png", "m.dot"}
    data = {"subspaces/v.safetensors", "pairs/flip.test.jsonl", "pairs/flip.train.jsonl"}
    wanted = {"files.cpatch", "results.json", *pictures, *data}
    assert wanted <= {str(path.relative_to(out)) for path in out.rglob("*")}
    basis = load_file(out / "subspaces/v.safetensors")["basis"]
    assert basis.shape == (48, 1)
    assert float(basis.norm()) == pytest.approx(1)

    saved = (out / "pairs/flip.test.jsonl").read_text()
    assert json.loads(saved.split("\n")[0])["answer"].startswith(" ")
    again = 'model lm = "tiny-llama"\npairs p = jsonl("out/pairs/flip.test.jsonl")\n'
    read_back = check(again, world).families["p"].whole
    ran = check(held, world).families["flip"].test
    assert read_back == replace(ran, name="p", patterns=False)  # a file has labels, no patterns

    program.write_text(held + "expect m.a.logit_diff > 100\n")
    assert main(["run", str(program), "--out", str(out)]) == 1
    assert "FELL" in capsys.readouterr().out
    program.write_text(held + "expect m.b.logit_diff > 100\n")
    assert main(["run", str(program), "--out", str(world / "none")]) == 2
    assert "no arm `b`" in capsys.readouterr().err
    program.write_text(PRELUDE + 'measure m on flip.test { a = patch hook("x") @ END report fldd }')
    assert main(["run", str(program), "--out", str(world / "none")]) == 3
    assert not (world / "none").exists()
    assert not list(world.glob(".none*"))


def test_a_foreign_folder_is_not_overwritten(world: Path) -> None:
    program = world / "foreign.cpatch"
    program.write_text(PRELUDE)
    mine = world / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    assert main(["run", str(program), "--out", str(mine)]) == 3
    assert (mine / "thesis.tex").read_text() == "precious"


def test_a_direction_from_a_file(world: Path) -> None:
    from safetensors.torch import save_file

    save_file({"basis": torch.eye(32)[:, :1].contiguous()}, str(world / "e0.safetensors"))
    text = (
        PRELUDE
        + """
site resid = resid_post[1] @ END
subspace e = file("e0.safetensors")
expect cos(e, neurons(resid, [0])) == 1
"""
    )
    results, _ = run(text, world)
    assert results.held


def test_a_folder_with_anything_else_in_it_is_never_replaced(world: Path) -> None:
    program = world / "keep.cpatch"
    program.write_text(PRELUDE)
    out = world / "kept"
    assert main(["run", str(program), "--out", str(out)]) == 0
    assert main(["run", str(program), "--out", str(out)]) == 0  # a run gives way to a run
    (out / "notes.txt").write_text("precious")
    assert main(["run", str(program), "--out", str(out)]) == 3
    assert (out / "notes.txt").read_text() == "precious"
    (world / "dangling").symlink_to(world / "nowhere")
    assert main(["run", str(program), "--out", str(world / "dangling")]) == 0
    assert (world / "nowhere/results.json").is_file()


def test_measured_numbers_can_be_named(world: Path) -> None:
    text = (
        PRELUDE
        + """
measure m on flip.test { a = patch resid_post[1] @ END  report kl }
sweep s on flip.test { for l in layers: patch resid_post[l] @ END  report kl }
let twice = m.a.kl * 2
let most = max(s.kl)
expect abs(twice / 2 - s[1].kl) <= 0
"""
    )
    results, _ = run(text, world)
    assert results.held
    assert results.numbers["twice"] == pytest.approx(2 * results.measures["m"]["a"]["kl"].mean)
    assert results.numbers["most"] >= results.numbers["twice"] / 2


def test_steering_by_a_swept_amount_adds_that_multiple(world: Path) -> None:
    text = (
        PRELUDE
        + """
site resid = resid_post[3] @ END
subspace e = neurons(resid, [3])
sweep s on flip.test { for k in {-2, 0.5, 3}: steer resid along e by k  report logit_diff }
"""
    )
    results, session = run(text, world)
    module = in_double(session.loaded.hf)
    pairs = session.graph.pairs[session.graph.key_of("flip.test")].pairs
    for label, amount in (("[-2]", -2.0), ("[0.5]", 0.5), ("[3]", 3.0)):

        def change(x: Tensor, amount: float = amount) -> Tensor:
            x = x.clone()
            x[:, -1, 3] += amount
            return x

        found = []
        for pair in pairs:
            place: Place = ("resid_post", 3, None)
            x = logits(module, torch.tensor([pair.base.ids]), [(place, change)])[0]
            found.append(float(x[pair.answer] - x[pair.foil]))
        mean = results.measures["s"][label]["logit_diff"].mean
        assert mean == pytest.approx(sum(found) / len(found), abs=1e-9)


def test_an_intervention_that_moves_nothing_is_noted(world: Path) -> None:
    text = (
        PRELUDE
        + """
site resid = resid_post[1] @ END
subspace none = project(neurons(resid, [0]), onto: neurons(resid, [1]))
measure m on flip.test { a = patch resid along none  report kl }
"""
    )
    results, _ = run(text, world)
    said = "m.a: the intervention at resid_post[1] @ END left every activation as it was"
    assert said in results.notes
