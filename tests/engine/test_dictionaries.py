"""Dictionaries compute what the libraries that wrote their files compute."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.engine.dictionaries.code import Code
from causaldsl.engine.dictionaries.load import read_code
from causaldsl.model.dictionaries import releases
from causaldsl.model.dictionaries.read import read_dictionary

DATA = Path(__file__).parent.parent / "data" / "dictionaries"
"""Written by ``tests/data/write_dictionaries.py``, with what each library makes of it."""
FOLDERS = sorted(path.parent for path in DATA.glob("*/*/expected.safetensors"))


def code_of(folder: Path, scale: float | None = None, dtype: torch.dtype = torch.float64) -> Code:
    form, _ = read_dictionary(folder.name, folder, scale)
    return read_code(form, dtype)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_equals_the_library(folder: Path) -> None:
    code, wanted = code_of(folder), load_file(folder / "expected.safetensors")
    x = wanted["x"]
    features = code.encode(x)
    assert features.shape == (12, 40)
    assert 0 < (features > 0).double().mean() < 1
    assert (features - wanted["features"]).abs().max() < 1e-6
    assert (code.decode(x, features) - wanted["out"]).abs().max() < 1e-6
    some = torch.tensor([3, 17, 39])
    assert torch.allclose(code.encode(x, some), features[:, some], atol=1e-12)
    # What a change moves is the difference of what is written before and after.
    change = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    after = features.clone()
    after[:, some] += change
    moved = code.decode(x, after) - code.decode(x, features)
    assert torch.allclose(code.moved(x, change, some), moved, atol=1e-12)


def test_every_architecture_is_there() -> None:
    assert len(FOLDERS) == 24


def test_scaled_as_saelens_folds_it() -> None:
    """SAELens: W_enc *= s, W_dec /= s, b_dec /= s."""
    folder, s = DATA / "saelens" / "jumprelu", 0.37
    plain, scaled = code_of(folder), code_of(folder, s)
    x = load_file(folder / "expected.safetensors")["x"]
    W_enc, W_dec, b_dec = plain.W_enc * s, plain.rows / s, plain.b_dec / s
    hidden = (x - b_dec) @ W_enc + plain.b_enc
    assert plain.threshold is not None
    features = hidden.relu() * (hidden > plain.threshold)
    assert torch.allclose(scaled.encode(x), features, atol=1e-12)
    assert torch.allclose(scaled.decode(x, features), features @ W_dec + b_dec, atol=1e-12)


def test_activations_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DATA / "sparsify" / "topk"
    code, x = code_of(folder), load_file(folder / "expected.safetensors")["x"]
    whole = code.encode(x.unflatten(0, (3, 4)))
    monkeypatch.setattr("causaldsl.engine.dictionaries.code._AT_ONCE", 100)
    assert torch.allclose(code.encode(x.unflatten(0, (3, 4))), whole, atol=1e-12)


def test_no_pickle_runs(tmp_path: Path) -> None:
    """A file with code in it is refused, and its code does not run."""

    class Bad:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("this ran",)

    source = DATA / "dictionary_learning" / "AutoEncoder"
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    (tmp_path / "ae.pt").write_bytes(pickle.dumps({"bias": Bad()}))
    with pytest.raises(RunFailure, match="can't be read"):
        code_of(tmp_path)


def test_weights_that_change_after_the_check_are_refused(tmp_path: Path) -> None:
    """Also where a worker on another machine has other ones: their values would be kept."""
    source = DATA / "saelens" / "standard"
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    form, _ = read_dictionary("mine", tmp_path, None)
    read_code(form)
    weights = tmp_path / "sae_weights.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "W_dec": 2 * tensors["W_dec"]}, weights)
    with pytest.raises(RunFailure, match="has changed since the program was checked"):
        read_code(form)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    source = DATA / "saelens" / "standard"
    tensors = load_file(source / "sae_weights.safetensors")
    tensors["W_enc"][0, 0] = float("nan")
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_bytes((source / "cfg.json").read_bytes())
    with pytest.raises(RunFailure, match="not finite"):
        code_of(tmp_path)


@pytest.mark.parametrize(
    ("layout", "name", "weights", "decoder"),
    [
        ("saelens", "topk_by_size", "sae_weights.safetensors", "W_dec"),
        ("dictionary_learning", "AutoEncoder", "ae.pt", "decoder.weight"),
    ],
)
def test_a_feature_that_writes_nothing(
    layout: str, name: str, weights: str, decoder: str, tmp_path: Path
) -> None:
    """Its length is zero, and what is divided by it is no number."""
    source = DATA / layout / name
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / weights
    kept = load_file(path) if path.suffix != ".pt" else torch.load(path, weights_only=True)
    (kept[decoder].T if path.suffix == ".pt" else kept[decoder])[3] = 0
    save_file(kept, path) if path.suffix != ".pt" else torch.save(kept, path)
    code, x = code_of(tmp_path), load_file(source / "expected.safetensors")["x"]
    features = code.encode(x)
    assert features.isfinite().all()
    assert not features[:, 3].any()
    assert not code.rows[3].any()
    assert code.decode(x, features).isfinite().all()


def test_scaling_factor_of_old_files(tmp_path: Path) -> None:
    """Older SAELens multiplies features by it before they are decoded."""
    source = DATA / "saelens" / "old_standard"
    plain = code_of(source)
    tensors = load_file(source / "sae_weights.safetensors")
    factor = torch.linspace(0.5, 2, 40)
    save_file({**tensors, "scaling_factor": factor}, tmp_path / "sae_weights.safetensors")
    config = json.loads((source / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(RunFailure, match="scaling_factor"):
        code_of(tmp_path)
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "finetuning_scaling_factor": True}))
    scaled = code_of(tmp_path)
    x = load_file(source / "expected.safetensors")["x"]
    features = plain.encode(x)
    assert torch.equal(scaled.encode(x), features)
    out = (features * factor.double()) @ plain.rows + plain.b_dec
    assert torch.allclose(scaled.decode(x, features), out, atol=1e-12)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("architecture", "matching_pursuit", "known are standard, gated"),
        ("normalize_activations", "covariance_whitening", "covariance_whitening"),
        ("normalize_activations", "expected_average_only_in", "a number that it does not say"),
        ("new_key", 1, "`new_key`, which is not understood"),
        ("d_in", None, "`d_in` is missing"),
        ("d_sae", 41, r"shape \[16, 40\], and cfg.json says \[16, 41\]"),
        ("apply_b_dec_to_input", "yes", "not true or false"),
        ("normalize_activations", ["layer_norm"], "normalize_activations"),
        ("metadata", {"model_from_pretrained_kwargs": [1]}, "not an object"),
        ("metadata", {"is_transcoder": True}, "it is a transcoder"),
        ("metadata", {"hook_point_head_index": 2}, "reads one head"),
    ],
)
def test_what_is_not_understood(key: str, value: object, words: str, tmp_path: Path) -> None:
    source = DATA / "saelens" / "standard"
    config = json.loads((source / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, key: value}))
    weights = tmp_path / "sae_weights.safetensors"
    weights.write_bytes((source / weights.name).read_bytes())
    with pytest.raises(Mistake, match=words) as found:
        read_dictionary("mine", tmp_path, None)
    assert found.value.help


@pytest.mark.parametrize("key", ["hook_layer", "hook_point_layer"])
def test_the_layer_of_files_that_name_no_hook(key: str, tmp_path: Path) -> None:
    source = DATA / "saelens" / "standard"
    config = json.loads((source / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "metadata": {key: 3}}))
    weights = tmp_path / "sae_weights.safetensors"
    weights.write_bytes((source / weights.name).read_bytes())
    assert read_dictionary("mine", tmp_path, None)[0].layer == 3


def test_releases_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What SAELens's own list says of a release, of which the files are in the hub's cache."""
    folder = DATA / "saelens" / "jumprelu"
    listed = {
        "mine": {
            "repo_id": "owner/saes",
            "saes": [{"id": "layer_1", "path": "jumprelu", "norm_scaling_factor": 0.5}],
        },
        "theirs": {"repo_id": "owner/other", "conversion_func": "gemma_2", "saes": []},
    }
    monkeypatch.setattr(releases, "_listed", lambda: listed)
    monkeypatch.setattr(releases, "_cached", lambda repo, inner: DATA / "saelens" / inner)
    found = releases.cached_release("mine", "layer_1")
    assert (found.folder, found.said, found.scale) == (folder, {}, 0.5)
    for name, id, words in (
        ("mine", "layer_2", "has no `layer_2`"),
        ("mine", None, "has 1"),
        ("theirs", "x", "a layout of its own"),
        ("nobody's", None, "there is no folder"),
    ):
        with pytest.raises(Mistake, match=words) as refused:
            releases.cached_release(name, id)
        assert refused.value.help
