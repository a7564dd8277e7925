"""Models that are broken are refused in plain words: NaN, weights of another model, adapters."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.engine.metrics import at_chance
from causaldsl.engine.open import Backends
from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import ModelSpec, resolve
from tests.tiny import tiny_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_folder(tmp_path, "llama")
    return tmp_path


def changed(folder: Path, change: object) -> ModelSpec:
    path = folder / "tiny-llama" / "model.safetensors"
    tensors = load_file(path)
    change(tensors)  # type: ignore[operator]
    save_file(tensors, path, {"format": "pt"})
    return resolve("tiny-llama", folder)


def test_nan_in_the_weights(folder: Path) -> None:
    def break_it(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")

    spec = changed(folder, break_it)
    with pytest.raises(RunFailure, match="logits are not numbers"):
        Backends(load(spec), [])


def test_weights_of_a_deeper_model(folder: Path) -> None:
    def add_a_block(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.9.mlp.down_proj.weight"] = torch.zeros(2, 2)

    spec = changed(folder, add_a_block)
    with pytest.raises(RunFailure, match=r"hold, beside the model's, model\.layers\.9\.mlp"):
        load(spec)


def test_a_head_for_another_task_is_no_fault(folder: Path) -> None:
    spec = changed(folder, lambda tensors: tensors.update({"v_head.weight": torch.zeros(1, 2)}))
    assert load(spec).hf is not None


def test_weights_of_another_shape(folder: Path) -> None:
    def reshape(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(3, 5)

    spec = changed(folder, reshape)
    with pytest.raises(RunFailure, match="weights in") as caught:
        load(spec)
    assert "another model" in str(caught.value.help)


@pytest.mark.parametrize("whole", [True, False])
def test_a_lora_folder_is_named(folder: Path, whole: bool) -> None:
    place = folder / "tiny-llama"
    said = {"base_model_name_or_path": "some/base", "peft_type": "LORA"}
    (place / "adapter_config.json").write_text(json.dumps(said))
    if not whole:
        (place / "config.json").unlink()
    with pytest.raises(Mistake, match="LoRA adapter of some/base") as caught:
        resolve("tiny-llama", folder)
    assert "merge" in str(caught.value.help)


def test_chance() -> None:
    assert at_chance(5, 10)
    assert at_chance(50, 100)
    assert at_chance(55, 100)
    assert at_chance(0, 3)
    assert not at_chance(3, 3)
    assert not at_chance(70, 100)
    assert not at_chance(8, 10)
