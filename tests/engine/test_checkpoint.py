"""Weights read without their module: used only where the module's own answers are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import CleanPass, logits_of
from causaldsl.engine.cone.backend import ConeBackend
from causaldsl.engine.open import Backends
from causaldsl.engine.weights.checkpoint import Checkpoint
from causaldsl.engine.weights.known_answers import recall
from causaldsl.engine.weights.load import Loaded, load
from causaldsl.engine.weights.matrices import matrix
from causaldsl.model.catalog import resolve
from tests import oracle
from tests.engine.test_families import COMMON, GPT2, LLAMA3_ROPE, build
from tests.tiny import Family, tiny_folder

ROOT = Path(__file__).resolve().parents[2]
READ: tuple[Family, ...] = ("llama", "gpt2", "qwen2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAUSALDSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(folder: Path, dtype: str = "float64") -> tuple[Loaded, ConeBackend]:
    """As a run opens it."""
    loaded = load(resolve(str(folder), folder), dtype=dtype, alone=True)
    notes: list[str] = []
    cone = Backends(loaded, notes)["cone"]
    assert notes == []
    assert isinstance(cone, ConeBackend)
    return loaded, cone


def change(path: Path, without: tuple[str, ...] = (), **entries: Any) -> None:
    """Entries of a JSON file."""
    found = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({k: v for k, v in found.items() if k not in without}))


def is_alone(loaded: Loaded) -> bool:
    return isinstance(loaded.source, Checkpoint)


def written(folder: Path, config: Any) -> Path:
    build(config)[0].float().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", READ)
def test_the_first_run_builds_the_module_and_the_next_gives_the_oracles_numbers(
    tmp_path: Path, family: Family
) -> None:
    folder = tiny_folder(tmp_path, family)
    first, _ = opened(folder)
    second, cone = opened(folder)
    assert not is_alone(first)
    assert is_alone(second)
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    tokens = torch.randint(20, (3, 9), generator=torch.Generator().manual_seed(1))
    wanted = oracle.logits(oracle.in_double(module), tokens)
    assert (logits_of(cone, cone.clean(CleanPass(tokens))) - wanted).abs().max() < 1e-9


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**COMMON, sliding_window=None),
        Qwen3Config(**COMMON),
        LlamaConfig(**COMMON, attention_bias=True, mlp_bias=True),
        LlamaConfig(**COMMON, tie_word_embeddings=True),
        LlamaConfig(**COMMON, hidden_act="mish"),
    ],
    ids=["mistral", "qwen3", "biases", "tied", "activation"],
)
def test_other_configurations(tmp_path: Path, config: Any) -> None:
    opened(written(tmp_path, config))
    loaded, _ = opened(tmp_path)
    assert is_alone(loaded)


def test_a_window_in_the_file_that_is_not_in_use(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "qwen2")
    change(folder / "config.json", sliding_window=8, use_sliding_window=False)
    opened(folder)
    loaded, cone = opened(folder)
    assert is_alone(loaded)
    cone.clean(CleanPass(torch.zeros(1, 12, dtype=torch.long)))


@pytest.mark.parametrize(
    "config",
    [MistralConfig(**COMMON), Qwen2Config(**COMMON, use_sliding_window=True, max_window_layers=0)],
    ids=["mistral", "qwen2"],
)
def test_a_file_that_leaves_out_the_window(tmp_path: Path, config: Any) -> None:
    change(written(tmp_path, config) / "config.json", ("sliding_window", "layer_types"))
    opened(tmp_path)
    loaded, cone = opened(tmp_path)
    assert is_alone(loaded)
    assert cone.decoder.window == 4096


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("word", ["rope_type", "type"])
def test_a_scaled_rotation_on_a_prompt_that_shows_it(tmp_path: Path, word: str, dtype: str) -> None:
    rope = {**LLAMA3_ROPE, "rope_theta": 5e5, "factor": 32.0}
    rope |= {"original_max_position_embeddings": 64}
    common = {**COMMON, "max_position_embeddings": 2048}
    written(tmp_path, LlamaConfig(**common, rope_parameters=rope))
    rope[word] = rope.pop("rope_type")
    change(tmp_path / "config.json", rope_parameters=rope)
    cones = [opened(tmp_path, dtype) for _ in range(2)]
    assert [is_alone(loaded) for loaded, _ in cones] == [False, True]
    tokens = torch.randint(40, (1, 1500), generator=torch.Generator().manual_seed(1))
    first, second = (logits_of(cone, cone.clean(CleanPass(tokens))) for _, cone in cones)
    assert torch.equal(first, second)


def test_attention_that_is_not_scaled(tmp_path: Path) -> None:
    config = GPT2Config(**GPT2, scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True)
    opened(written(tmp_path, config))
    loaded, cone = opened(tmp_path)
    assert is_alone(loaded)
    assert [block.attention.scale for block in cone.decoder.blocks] == [1.0, 1 / 2, 1 / 3]


def test_files_beside_those_that_transformers_reads(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "llama")
    other = {n: t * 2 for n, t in load_file(folder / "model.safetensors").items()}
    save_file(other, folder / "model_other.safetensors", metadata={"format": "pt"})
    opened(folder, "bfloat16")
    assert is_alone(opened(folder, "bfloat16")[0])


def test_a_head_in_the_file_of_a_model_that_says_it_is_tied(tmp_path: Path) -> None:
    """Transformers goes by the file where the two differ."""
    folder = written(tmp_path, LlamaConfig(**COMMON, tie_word_embeddings=False))
    change(folder / "config.json", tie_word_embeddings=True)
    first, second = (opened(folder) for _ in range(2))
    tokens = torch.arange(9)[None]
    ours, wanted = (logits_of(cone, cone.clean(CleanPass(tokens))) for _, cone in (second, first))
    assert torch.equal(ours, wanted)


def test_weights_that_can_not_be_read_alone_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(tmp_path, "llama")
    opened(folder)
    with monkeypatch.context() as patch:
        patch.setattr("causaldsl.engine.weights.load.read_checkpoint", lambda *_: None)
        opened(folder)

    def read(*given: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("causaldsl.engine.weights.load.read_checkpoint", read)
    opened(folder)
    opened(folder)


def test_names_of_gpt2s_first_files(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "gpt2")
    path = folder / "model.safetensors"
    short = {n.removeprefix("transformer."): t for n, t in load_file(path).items()}
    assert "wte.weight" in short
    save_file(short, path, metadata={"format": "pt"})
    opened(folder)
    loaded, _ = opened(folder)
    assert is_alone(loaded)
    assert matrix(loaded, "W_U").shape == matrix(loaded, "W_E").T.shape


def test_weights_that_no_longer_give_the_known_answers(tmp_path: Path) -> None:
    """Changed in the middle of the file, where the fingerprint does not look."""
    folder = tiny_folder(tmp_path, "llama", words=[f"w{i}" for i in range(9000)])
    opened(folder)
    spec = resolve(str(folder), folder)
    known = recall(spec, torch.float64, "cpu")
    path = folder / "model.safetensors"
    before = path.read_bytes()
    tensors = load_file(path)
    tensors["lm_head.weight"][-50:] *= -1
    save_file(tensors, path, metadata={"format": "pt"})
    assert resolve(str(folder), folder).shapes.fingerprint == spec.shapes.fingerprint
    assert recall(spec, torch.float64, "cpu") is None
    loaded, cone = opened(folder)
    assert not is_alone(loaded)
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    tokens = torch.arange(12)[None]
    wanted = oracle.logits(oracle.in_double(module), tokens)
    assert (logits_of(cone, cone.clean(CleanPass(tokens))) - wanted).abs().max() < 1e-9
    now = recall(spec, torch.float64, "cpu")
    assert known is not None
    assert now is not None
    assert not torch.equal(known.answers, now.answers)
    assert is_alone(opened(folder)[0])
    path.write_bytes(before)  # and what was known of the first weights is as it was
    again = recall(spec, torch.float64, "cpu")
    assert again is not None
    assert torch.equal(known.answers, again.answers)


def test_damaged_answers_are_no_answers(tmp_path: Path, cache: Path) -> None:
    folder = tiny_folder(tmp_path, "llama")
    opened(folder)
    (kept,) = (cache / "references").iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[:100], b"", save({"answers": torch.zeros(2, 3)}, {"module": "{}"})):
        kept.write_bytes(damaged)
        assert not is_alone(opened(folder)[0])
        assert is_alone(opened(folder)[0])


def test_a_cache_that_can_not_be_written_to(tmp_path: Path, cache: Path) -> None:
    folder = tiny_folder(tmp_path, "llama")
    cache.mkdir()
    (cache / "references").write_text("in the way")
    opened(folder)
    opened(folder)
    # Nothing of the model is kept; hashes of its files are, which are no part of what is known.
    assert {path.name for path in cache.iterdir()} <= {"references", "seen"}
    assert (cache / "references").read_text() == "in the way"


def test_damaged_weights_are_still_a_mistake(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "llama")
    opened(folder)
    path = folder / "model.safetensors"
    spec, whole = resolve(str(folder), folder), path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunFailure, match="cannot load"):
        load(spec, dtype="float64", alone=True)


def test_a_configuration_that_contradicts_itself(tmp_path: Path) -> None:
    """Layers that slide, and no window to slide."""
    folder = tiny_folder(tmp_path, "qwen2")
    change(folder / "config.json", layer_types=["sliding_attention"] * 4, sliding_window=None)
    with pytest.raises(RunFailure, match="transformers can't run this model: TypeError"):
        opened(folder)


def test_answers_are_kept_by_dtype(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "llama")
    opened(folder, "float32")
    assert not is_alone(opened(folder, "float64")[0])
    assert is_alone(opened(folder, "float64")[0])
    opened(folder, "bfloat16")
    assert is_alone(opened(folder, "bfloat16")[0])


def test_the_module_that_is_built_later_holds_the_same_tensors(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "llama")
    opened(folder)
    loaded, cone = opened(folder)
    assert is_alone(loaded)
    ours = {tensor.data_ptr() for tensor in loaded.weights.values()}
    assert {p.data_ptr() for p in loaded.hf.parameters()} == ours
    tokens = torch.arange(9)[None]
    hooks = Backends(loaded, [])["hooks"]
    first, second = (logits_of(b, b.clean(CleanPass(tokens))) for b in (hooks, cone))
    assert (first - second).abs().max() < 1e-6


def test_a_second_run_needs_no_transformers(tmp_path: Path) -> None:
    """Nor TransformerLens: both take seconds to import."""
    folder = tiny_folder(tmp_path, "llama")
    pair = {"base": "Mary and John went", "source": "John and Mary went"}
    pair |= {"answer": " Mary", "foil": " John"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    program = tmp_path / "p.cpatch"
    program.write_text(
        f'model lm = "{folder}"\n'
        'pairs p = jsonl("pairs.jsonl")\n'
        "measure m on p {\n  whole = patch resid_post[1] @ END\n  report logit_diff\n}\n"
    )
    script = (
        "import sys; from causaldsl.cli import main\n"
        "code = main(['run', sys.argv[1], '--out', sys.argv[2]])\n"
        "print([m for m in ('transformers', 'transformer_lens') if m in sys.modules])\n"
        "sys.exit(code)\n"
    )
    for imported in ("['transformers']", "[]"):
        done = subprocess.run(
            [sys.executable, "-c", script, str(program), str(tmp_path / f"run {imported}")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == imported
