"""A real GPU against the CPU of the same machine; tests/elsewhere.py simulates one without.

Every form of the language, on both backends, in every dtype, on models of three families: the
numbers are those of the CPU, up to the rounding of sums in another order.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from causaldsl.check.program import Checker
from causaldsl.diagnostics import Source
from causaldsl.engine.arithmetic import arithmetic
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import open_session
from causaldsl.engine.precision import measure_precision
from causaldsl.engine.session import Session, Settings
from causaldsl.graph.compiler import compile_program
from tests.engine.same import APART, differences, records_apart, values_apart
from tests.engine.test_elsewhere import PROGRAMS
from tests.frontend.world import PRELUDE, make_world
from tests.tiny import tiny_tokenizer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here")

FAMILIES = """
site mlp = mlp_hidden[layer] @ END
subspace v = das(mlp, on: flip.train, epochs: 1, batch: 4)
subspace g = gradient(resid_post[layer] @ END, of: logit_diff, on: flip.train)
subspace ten = best_neurons(mlp, on: flip.train, k: 10)
measure m on flip.test {
  whole = patch mlp
  along = patch mlp along v
  down = patch resid_post[layer] @ END along g
  few = patch mlp along ten
  stretch = ablate mlp_out[1] @ IO..S2 to zero
  mean = ablate attn_out[2] @ END to mean
  all = ablate resid_mid[1] @ all to zero along random(resid_mid[1] @ all)
  frozen = head[0.1].z @ END -> head[2.1].q @ END -> logits { freeze all  layernorm frozen }
  free = head[0.1].z @ END -> head[2.1].q @ END -> logits { freeze all  layernorm recompute }
  attention = mlp -> logits { freeze attention  layernorm frozen }
  report logit_diff, fldd, flip_rate, prob, kl
}
sweep ends on flip.test { for l in layers: patch resid_pre[l] @ END  report logit_diff }
sweep heads_z on flip.test { for h in heads: patch head[h].z @ END  report logit_diff }
sweep heads_out on flip.test { for h in heads: patch head[h].out @ S2  report logit_diff }
trace t = patch mlp to logit_diff on flip.test { top 2  at END }
audit a = illusion(v, on: flip, directions: 2, mlps: 1, sizes: [8])
histogram h on flip.test { clean = v at mlp  ablated = v at mlp with ablate mlp to zero }
"""
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 32, "layers": 4, "heads": 4, "hidden": 48},
    "mid": {"width": 256, "layers": 8, "heads": 4, "hidden": 768},
}
BY_PAIR = {"float32": 1e-5, "float64": 1e-10}
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
"""Of numbers by pair, and of all, among them shares of effects that are themselves small."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("cuda"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path / "cache"))


def made(family: str, size: str, world: Path) -> str:
    """A program for a random model of a family, whose folder is written."""
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

    shape, folder = SHAPES[size], world / f"{size}-{family}"
    layers, heads = shape["layers"], shape["heads"]
    tokenizer = tiny_tokenizer(bos=family == "llama")
    common = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": shape["width"],
        "intermediate_size": shape["hidden"],
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "head_dim": shape["width"] // heads,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    configs = {
        "llama": lambda: LlamaConfig(**common),
        "qwen3": lambda: Qwen3Config(**common),
        "gpt2": lambda: GPT2Config(
            vocab_size=common["vocab_size"],
            n_positions=64,
            n_embd=shape["width"],
            n_layer=layers,
            n_head=heads,
            n_inner=shape["hidden"],
            bos_token_id=0,
            eos_token_id=0,
        ),
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configs[family](), attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            wide = parameter.dim() > 1
            parameter.normal_(0.0 if wide else 1.0, shape["width"] ** -0.5 if wide else 0.2)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    body = FAMILIES.replace("[layer]", f"[{layers // 2}]")
    return PRELUDE.replace("tiny-llama", folder.name) + body


def run(text: str, world: Path, device: str, **settings: Any) -> tuple[Any, Session]:
    program = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    chosen = Settings(device=device, resamples=50, **settings)
    with arithmetic(chosen):
        session = open_session(program, compile_program(program), chosen, lambda *_: None)
        interpret(session)
    return program, session


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_form_finds_the_same(name: str, backend: str, dtype: str, world: Path) -> None:
    _, here = run(PROGRAMS[name], world, "cpu", backend=backend, dtype=dtype)
    notes = list(here.notes)  # to compare makes records, which add notes
    for _ in range(2):  # the second time, weights are read alone
        program, there = run(PROGRAMS[name], world, "cuda", backend=backend, dtype=dtype)
        assert there.loaded.weights["model.norm.weight"].is_cuda
        assert there.notes == notes
        assert differences(program, there, here, TOLERANCE[dtype]) == []


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("backend", ["cone", "hooks"])
@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_every_family_finds_the_same(
    family: str, size: str, backend: str, dtype: str, world: Path
) -> None:
    text = made(family, size, world)
    _, here = run(text, world, "cpu", backend=backend, dtype=dtype)
    program, there = run(text, world, "cuda", backend=backend, dtype=dtype)
    assert here.notes == there.notes
    assert list(values_apart(there, here, BY_PAIR[dtype])) == []
    assert differences(program, there, here, TOLERANCE[dtype]) == []


def test_bfloat16_lies_as_far_from_float32_as_on_the_cpu(world: Path) -> None:
    text, found = made("llama", "mid", world), {}
    for device in ("cpu", "cuda"):
        _, session = run(text, world, device, dtype="bfloat16")
        measure_precision(session)
        found[device] = session.precision.mean
    assert 0.5 < found["cuda"] / found["cpu"] < 2


def test_float32_is_not_rounded_unless_asked_for(world: Path) -> None:
    """By TF32, whatever the process has allowed before."""
    text = made("llama", "mid", world)
    _, here = run(text, world, "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        program, exact = run(text, world, "cuda")
        _, rounded = run(text, world, "cuda", tf32=True)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert differences(program, exact, here, TOLERANCE["float32"]) == []
    assert differences(program, rounded, here, TOLERANCE["float32"]) != []


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_a_gpu_that_is_too_small_finds_the_same(backend: str, world: Path) -> None:
    text = made("llama", "mid", world).partition("trace t")[0]
    text = text.replace("train 8  test 6", "train 64  test 64")
    _, here = run(text, world, "cpu", backend=backend)
    program = Checker(Source("case.cpatch", text), world / "case.cpatch").check()
    settings = Settings(backend=backend, device="cuda", resamples=50)
    there = open_session(program, compile_program(program), settings, lambda *_: None)
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 16 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.mem_get_info()[1])
    try:
        interpret(there)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("memory ran out" in note for note in there.notes)
    assert differences(program, there, here, TOLERANCE["float32"]) == []


def test_the_command_says_the_same(world: Path, tmp_path: Path) -> None:
    (world / "case.cpatch").write_text(made("llama", "tiny", world))
    found = {}
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        command = [sys.executable, "-m", "causaldsl", "run", str(world / "case.cpatch")]
        command += ["--device", device, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1, 4), done.stderr
        found[device] = json.loads((out / "results.json").read_text())
    mine, other = ({k: v for k, v in found[on].items() if k not in APART} for on in found)
    assert list(records_apart(mine, other, "", TOLERANCE["float32"])) == []
