"""The engine on devices that are not the CPU, simulated (tests/elsewhere.py), against the CPU.

Every form of the language runs with a model on two devices: a tensor left on the CPU or the other
device, or taken there unasked, fails as it would on GPUs, and the numbers are those of the CPU. The
long tests do the same on one device, on both backends.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from causaldsl import api
from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.precision import measure_precision
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from tests.cluster.same import apart
from tests.elsewhere import DEVICE, SEVERAL, Elsewhere, MixedDevices, elsewhere
from tests.engine.same import differences
from tests.engine.statements import STATEMENTS
from tests.frontend.world import PRELUDE, make_world

EVERYTHING = (Path(__file__).parents[1] / "frontend/corpus/everything.cpatch").read_text()
PATHS_AND_AUDITS = (
    PRELUDE
    + """
site mlp = mlp_hidden[1] @ END
subspace v = das(mlp, on: flip.train, epochs: 1)
measure m on flip.test {
  path_q = mlp -> head[2.1].q @ END -> logits { freeze all  layernorm frozen }
  path_v = head[0.2].z @ S2 -> kv_head[1.1].v @ S2 -> logits { freeze all  layernorm recompute }
  straight = v -> logits { freeze attention  layernorm recompute }
  random = patch random_mlp(2, seed: 1) @ END
  report fldd, kl
}
trace t = patch mlp along v to logit_diff on flip.test { top 2  at END }
audit a = illusion(v, on: flip, directions: 1, mlps: 1, sizes: [8])
"""
)
PROGRAMS = {"everything": EVERYTHING, "paths_and_audits": PATHS_AND_AUDITS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("elsewhere"))


def _program(name: str, world: Path) -> CheckedProgram:
    return Checker(Source("case.cpatch", PROGRAMS[name]), world / "case.cpatch").check()


def _run(program: CheckedProgram, device: str, backend: str = "cone") -> Session:
    settings = Settings(backend=backend, device=device, resamples=50)
    session = open_session(program, compile_program(program), settings, lambda *_: None)
    interpret(session)
    return session


@pytest.mark.soak  # of one device less is asked than of two
@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_elsewhere_finds_the_same(
    name: str, backend: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path))
    # TransformerLens takes the simulated device for weights that were never loaded.
    readable = "transformer_lens.utilities.quantization.unreadable_weight_reason"
    monkeypatch.setattr(readable, lambda weight: None)
    program = _program(name, world)
    here = _run(program, "cpu", backend)
    for _ in range(2 if backend == "cone" else 1):  # the second time, weights are read alone
        with elsewhere():
            there = _run(program, DEVICE, backend)
            assert isinstance(there.loaded.weights["model.norm.weight"], Elsewhere)
            found = differences(program, there, here, 1e-4)
        assert there.notes == here.notes
        assert found == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_model_on_two_devices_finds_the_same(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path))
    program = _program(name, world)
    here = _run(program, "cpu")
    for _ in range(2):  # the second time, weights are read alone
        with elsewhere():
            there = _run(program, ",".join(SEVERAL))
            weights = there.loaded.weights.values()
            assert {str(weight.device) for weight in weights} == set(SEVERAL)
            found = differences(program, there, here, 1e-4)
        assert there.notes == here.notes
        assert found == []


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_on_two_devices(name: str, world: Path) -> None:
    path = world / f"{name}.cpatch"
    path.write_text(STATEMENTS[name])
    here = api.run(path, store="none", dtype="float64")
    with elsewhere():
        there = api.run(path, store="none", dtype="float64", device=",".join(SEVERAL))
    assert list(apart(there, here, 1e-7)) == []


def test_bfloat16_is_compared_elsewhere(world: Path) -> None:
    program = Checker(Source("case.cpatch", PATHS_AND_AUDITS), world / "case.cpatch").check()
    settings = Settings(device=DEVICE, dtype="bfloat16", resamples=50)
    with elsewhere():
        session = open_session(program, compile_program(program), settings, lambda *_: None)
        interpret(session)
        measure_precision(session)
    assert 0 < session.precision.largest < 1


def test_what_is_simulated_refuses_what_a_gpu_refuses() -> None:
    with elsewhere():
        there, here = torch.ones(3, 2, device=DEVICE), torch.ones(2, 3)
        with pytest.raises(MixedDevices, match="mm"):
            there @ here
        with pytest.raises(MixedDevices, match="index"):
            here[torch.tensor([0], device=DEVICE)]
        with pytest.raises(MixedDevices, match="add"):
            here.add_(torch.ones(2, 3, device=DEVICE))
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert there.device.type == DEVICE
        assert (there[torch.tensor([1, 2])] @ here.to(DEVICE)).cpu().tolist() == [[2.0] * 3] * 2
        weight = torch.ones(2, device=DEVICE).requires_grad_()
        (gradient,) = torch.autograd.grad((there @ weight).square().sum(), weight)
        assert gradient.tolist() == [12.0, 12.0]
