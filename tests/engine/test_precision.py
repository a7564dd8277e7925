"""bfloat16: what it does to the numbers is measured and reported; TF32 is off; devices."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from causaldsl import api
from causaldsl.check.program import Checker
from causaldsl.cli import main
from causaldsl.diagnostics import RunFailure, Source
from causaldsl.engine.arithmetic import arithmetic
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.precision import compare, few_pairs, measure_precision
from causaldsl.engine.session import Session, Settings
from causaldsl.engine.weights.load import load
from causaldsl.graph.compiler import compile_program
from causaldsl.model.catalog import resolve
from causaldsl.plan.chunks import COMPARED_PAIRS
from tests.frontend.world import PRELUDE, make_world

PROGRAM = (
    PRELUDE.replace("test 6", "test 40")
    + """
site resid = resid_post[1] @ END
site mlp = mlp_hidden[2] @ END
subspace v = das(mlp, on: flip.train, epochs: 1)
measure m on flip.test {
  whole = patch resid
  by_v = patch mlp along v
  fixed = ablate mlp to mean
  route = mlp -> head[3.1].q @ END -> logits { freeze all  layernorm recompute }
  report logit_diff, interchange_accuracy
}
sweep s on flip.test { for l in layers: patch mlp_out[l] @ END  report fldd }
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("precision"))


def run(text: str, world: Path, **settings: Any) -> Session:
    program = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    chosen = Settings(resamples=50, **settings)
    session = open_session(program, compile_program(program), chosen, lambda *_: None)
    interpret(session)
    return session


def logit_diffs(session: Session, arm: str) -> Tensor:
    found: Tensor = session.values[session.graph.arm("m", arm)].logit_diff
    return found


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_what_is_reported_is_how_far_the_runs_are_apart(
    backend: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the arms without anything learned, against a whole run in float32.

    Without shared beginnings: a few pairs share others than all do, and bfloat16 rounds otherwise.
    """
    monkeypatch.setattr("causaldsl.plan.prefixes.LEAST_SAVED", 1.0)
    text = PROGRAM.replace("  by_v = patch mlp along v\n", "").replace(
        "fixed = ablate mlp to mean", ""
    )
    text = "\n".join(
        line for line in text.splitlines() if not line.startswith(("subspace", "sweep"))
    )
    low, high = (run(text, world, backend=backend, dtype=d) for d in ("bfloat16", "float32"))
    measure_precision(low)
    apart = [
        (logit_diffs(low, arm) - logit_diffs(high, arm))[:COMPARED_PAIRS].abs()
        for arm in ("clean", "whole", "route")
    ]
    assert low.precision.runs == 3
    assert low.precision.compared == 3 * COMPARED_PAIRS
    assert low.precision.largest == pytest.approx(float(torch.cat(apart).max()), rel=1e-5)
    assert low.precision.mean == pytest.approx(float(torch.cat(apart).mean()), rel=1e-5)
    assert 1e-3 < low.precision.largest < 1


def test_arithmetic_of_the_comparison() -> None:
    ours = [torch.tensor([1.0, 2.0]), torch.tensor([0.0, 3.0])]
    theirs = [torch.tensor([1.5, 1.5]), torch.tensor([1.0, 3.0])]
    found = compare("bfloat16", ours, theirs)
    assert (found.runs, found.compared, found.largest) == (2, 4, 1.0)
    assert (found.mean, found.of_means) == (0.5, 0.5)


def test_everything_is_reported(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world / "low.cpatch"
    path.write_text(PROGRAM)
    assert main(["run", str(path), "--dtype", "bfloat16", "--out", str(world / "low")]) == 0
    found = json.loads((world / "low/results.json").read_text())
    # Clean (train and test), v on train and on test, the other three arms, four layers.
    assert found["precision"]["runs"] == 2 + 2 + 3 + 4
    assert found["provenance"]["dtype"] == "bfloat16"
    (note,) = [note for note in found["notes"] if note.startswith("bfloat16")]
    assert f"{found['precision']['largest']:.2g}" in note
    assert note[:30] in " ".join(capsys.readouterr().out.split())
    assert "differences lie up to" in (world / "low/report.html").read_text()


def test_the_backends_stay_near_each_other(world: Path) -> None:
    """Nearer than a bfloat16 logit of that size can say: the unembedding is in float32."""
    low = {name: run(PROGRAM, world, backend=name, dtype="bfloat16") for name in ("cone", "hooks")}
    high = run(PROGRAM, world, dtype="float32")
    for arm in ("clean", "whole", "fixed", "route"):
        ours, theirs = (logit_diffs(low[name], arm) for name in ("cone", "hooks"))
        assert (ours - theirs).abs().max() < 0.3
        assert (ours - logit_diffs(high, arm)).abs().max() < 0.3
    # bfloat16 has 8 bits, so a logit read in it is a multiple of 1/128 at the least.
    assert (ours * 128 - (ours * 128).round()).abs().max() > 1e-3


def test_a_direction_is_learned_and_patched_in_float32(world: Path) -> None:
    session = run(PROGRAM, world, dtype="bfloat16")
    basis = session.values[session.graph.key_of("v")].basis
    assert (basis - basis.bfloat16().double()).abs().max() > 0


def test_float32_is_not_compared_with_itself(world: Path) -> None:
    session = run(PROGRAM, world)
    measure_precision(session)
    assert session.precision is None
    assert session.notes, "the few pairs are said"
    assert not any("float" in note for note in session.notes)


def test_a_program_that_measures_nothing_says_so(world: Path) -> None:
    session = run('model lm = "tiny-llama"\n', world, dtype="bfloat16")
    assert few_pairs(session) is None
    measure_precision(session)
    assert "no logit difference is measured" in session.notes[0]


@pytest.fixture
def flags() -> Any:
    before = allowed()
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def allowed() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("flags")
def test_tf32_is_off_unless_asked_for(world: Path) -> None:
    path = world / "untold.cpatch"
    path.write_text(
        PRELUDE + "measure m on flip.test { a = patch resid_post[1] @ END  report fldd }\n"
    )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    seen: dict[str, tuple[bool, bool]] = {}
    api.run(path, progress=lambda what, done, total: seen.update({what: allowed()}))
    ran = [flags for what, flags in seen.items() if what.startswith("clean base run")]
    assert ran == [(False, False)]
    assert allowed() == (True, True)
    with arithmetic(Settings(device="cuda", tf32=True)):
        assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.usefixtures("flags")
def test_tf32_without_an_nvidia_gpu(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = world / "tf32.cpatch"
    path.write_text(PRELUDE)
    assert main(["run", str(path), "--tf32", "--out", str(world / "none")]) == 3
    assert "`--device cuda`" in capsys.readouterr().err


def test_what_mps_can_not_do(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("causaldsl.engine.weights.load._check_device", lambda device: None)
    spec = resolve(str(world / "tiny-llama"), world)
    with pytest.raises(RunFailure, match="float64, which mps does not have"):
        load(spec, "mps", "float64")
    toy = SimpleNamespace(path=None, name="toy/illusion")
    with pytest.raises(RunFailure, match="toy model"):
        load(toy, "mps")  # type: ignore[arg-type]


def test_half_precision_with_few_bits_of_exponent_is_not_offered(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", str(world / "low.cpatch"), "--dtype", "float16"])
    assert "bfloat16" in capsys.readouterr().err
