import pytest
import torch
from transformers import AutoModelForCausalLM

from causaldsl.diagnostics import Mistake
from causaldsl.model.catalog import resolve
from causaldsl.model.tokens import Tokens
from tests.model.tiny_gguf import write_tiny_gguf


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    return folder, write_tiny_gguf(folder / "tiny.gguf")


@pytest.fixture(scope="module")
def converted(written, tmp_path_factory):
    """The conversion, made once for this file; it takes a process that imports torch."""
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALDSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        spec = resolve("tiny.gguf", written[0], said.append)
        again = resolve("./tiny.gguf", written[0], said.append)
    return spec, again, said


def test_the_conversion_is_made_once_and_announced(converted):
    spec, again, said = converted
    assert said == ["converting tiny.gguf (once)"]
    assert spec.kind == "gguf"
    assert again.path == spec.path
    assert again.shapes.fingerprint == spec.shapes.fingerprint


def test_the_folder_holds_a_whole_model_and_nothing_else(converted):
    spec = converted[0]
    names = {path.name for path in spec.path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "source.json"} <= names
    assert not any(path.suffix == ".gguf" for path in spec.path.iterdir())


def test_the_shapes_are_the_models(converted):
    shapes = converted[0].shapes
    assert (shapes.n_layers, shapes.n_heads, shapes.n_kv_heads, shapes.d_mlp) == (4, 4, 2, 48)
    assert shapes.gated_mlp


def test_the_weights_are_the_models_query_and_key_rows_included(written, converted):
    original = written[1]
    model = AutoModelForCausalLM.from_pretrained(converted[0].path)
    found = model.state_dict()
    for name, value in original.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    tokens = torch.arange(1, 12)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, original(tokens).logits)


def test_the_tokenizer_splits_as_the_gguf_says(converted):
    tokens = Tokens.load(converted[0].path)
    assert tokens.pieces("the th 1212") == ["th", "e", " th", " ", "1", "2", "1", "2"]
    assert tokens.encode("<s>th").ids[0] == 0


def test_a_file_that_is_not_gguf(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"PK" + bytes(100))
    with pytest.raises(Mistake, match="not a GGUF file") as caught:
        resolve("m.gguf", tmp_path)
    assert caught.value.code == "not-gguf"


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Mistake, match="no file models/m") as caught:
        resolve("models/m.gguf", tmp_path)
    assert caught.value.code == "model-absent"


def test_a_damaged_file_leaves_no_model(written, tmp_path, private_cache):
    whole = (written[0] / "tiny.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Mistake, match="cannot convert cut") as caught:
        resolve("cut.gguf", tmp_path)
    assert caught.value.code == "conversion-failed"
    assert [path for path in (private_cache / "models").iterdir() if path.is_dir()] == []
