import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.weights.bridge import build_bridge
from causaldsl.engine.weights.load import load
from causaldsl.model.catalog import resolve
from causaldsl.model.toy import TOY_NAMES, toy
from tests.tiny import FAMILIES, tiny_folder

ROOT = Path(__file__).resolve().parents[2]
TOKENS = torch.arange(1, 12)[None]
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    return {family: resolve(str(tiny_folder(base, family)), base) for family in FAMILIES}


@families
def test_the_module_is_ready_to_run_and_frozen(specs, family):
    loaded = load(specs[family])
    assert not loaded.hf.training
    assert not any(p.requires_grad for p in loaded.hf.parameters())
    assert loaded.hf.config._attn_implementation == "eager"
    assert all(p.dtype == torch.float32 for p in loaded.weights.values())


@families
def test_the_bridge_computes_what_the_module_computes(specs, family):
    loaded = load(specs[family], dtype="float64")
    assert loaded.bridge is loaded.bridge
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.bridge(TOKENS), loaded.hf(TOKENS).logits, rtol=1e-6, atol=1e-6
        )


@families
def test_building_a_bridge_leaves_the_module_alone(specs, family):
    loaded = load(specs[family])

    def look():
        tensors = {k: (v.data_ptr(), v.sum().item()) for k, v in loaded.hf.state_dict().items()}
        return tensors, [(name, type(m)) for name, m in loaded.hf.named_modules()]

    with torch.no_grad():
        before, logits = look(), loaded.hf(TOKENS).logits
        bridge = build_bridge(loaded.spec, loaded.hf, loaded.dtype, loaded.device)
        assert look() == before
        assert torch.equal(loaded.hf(TOKENS).logits, logits)
    ours = {p.data_ptr() for p in loaded.weights.values()}
    large = [p for n, p in bridge.named_parameters() if p.dim() == 2 and "qkv" not in n]
    assert any(p.data_ptr() in ours for p in large)


def test_tied_weights_are_there_under_both_names(specs):
    weights = load(specs["gpt2"]).weights
    assert weights["lm_head.weight"] is weights["transformer.wte.weight"]


def test_loading_changes_no_global_setting(specs):
    from transformers.utils import logging as reports

    before = (reports.get_verbosity(), reports.is_progress_bar_enabled())
    assert load(specs["llama"]).bridge is not None
    assert (reports.get_verbosity(), reports.is_progress_bar_enabled()) == before
    assert logging.root.manager.disable == 0


def test_loading_prints_nothing(specs):
    script = (
        "import sys; from pathlib import Path\n"
        "from causaldsl.model.catalog import resolve\n"
        "from causaldsl.engine.weights.load import load\n"
        "load(resolve(sys.argv[1], Path('.'))).bridge\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(specs["gpt2"].path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    assert done.stderr == ""


def test_missing_weights(specs, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((specs["llama"].path / name).read_bytes())
    with pytest.raises(RunFailure, match="has no weights") as caught:
        load(resolve(str(tmp_path), tmp_path))
    assert "model.safetensors" in caught.value.help


def test_weights_of_another_model(specs, tmp_path):
    (tmp_path / "config.json").write_bytes((specs["llama"].path / "config.json").read_bytes())
    weights = (specs["gpt2"].path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(RunFailure, match="the weights in"):
        load(resolve(str(tmp_path), tmp_path))


def test_damaged_weights(specs, tmp_path):
    (tmp_path / "config.json").write_bytes((specs["llama"].path / "config.json").read_bytes())
    weights = (specs["llama"].path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(RunFailure, match="cannot load"):
        load(resolve(str(tmp_path), tmp_path))


def test_an_unknown_dtype_or_device(specs):
    with pytest.raises(RunFailure, match="unknown dtype") as caught:
        load(specs["llama"], dtype="flot32")
    assert "float32" in caught.value.help
    wrong = {"gpu": "say `cuda` for a GPU", "gpu:1": "say `cuda`", "cdua": "`cuda`?"}
    for name, meant in wrong.items():
        with pytest.raises(RunFailure, match=f"no device {name} here$") as refused:
            load(specs["llama"], device=name)
        assert meant in refused.value.help
    with pytest.raises(RunFailure, match="no device"):
        load(specs["llama"], device="warp")


@pytest.mark.parametrize("name", TOY_NAMES)
def test_a_toy_runs_under_hooks(name, tmp_path):
    loaded = load(resolve(name, tmp_path))
    model = toy(name)
    x = torch.tensor([[2.0], [-3.0]])
    seen = {}
    hidden, shape = "blocks.0.mlp.hook_post", (2, 1, model.shapes.d_mlp)
    if model.heads:
        hidden, shape = "blocks.0.attn.hook_z", (2, 1, model.heads, 1)
    with loaded.bridge.hooks(
        fwd_hooks=[
            (point, lambda value, hook: seen.__setitem__(hook.name, value))
            for point in (hidden, "unembed.hook_out")
        ]
    ):
        out = loaded.bridge(x)
    assert loaded.hf is None
    assert out.dtype == torch.float64
    assert out.shape == (2, 1, 1)
    torch.testing.assert_close(out[:, 0], x.double() * (model.w_in @ model.w_out).item())
    assert seen[hidden].shape == shape
    assert torch.equal(seen["unembed.hook_out"], out)


def test_patching_the_toy_along_the_illusion(tmp_path):
    """The example itself, run through hooks: the dormant direction alone does nothing."""
    loaded = load(resolve("toy/illusion", tmp_path))
    base, source = torch.tensor([[1.0]]), torch.tensor([[5.0]])
    wanted = source.double() @ loaded.bridge.W_in

    def patched(direction):
        v = torch.tensor(direction)

        def patch(x, hook):
            return x + ((wanted[:, None] - x) @ v)[..., None] * v

        return loaded.bridge.run_with_hooks(
            base, fwd_hooks=[("blocks.0.mlp.hook_post", patch)]
        ).item()

    found = {name: patched(v) for name, v in toy("toy/illusion").directions.items()}
    assert found == pytest.approx({"feature": 5, "disconnected": 1, "dormant": 1, "illusory": 5})
