"""Matrices against what the modules compute: x W plus a constant is the module's own output."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, Phi3Config, PhiConfig

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.weights.load import Loaded, load
from causaldsl.engine.weights.matrices import matrix
from causaldsl.model.catalog import ModelSpec, resolve
from causaldsl.model.shapes import shapes_from_config
from tests.tiny import FAMILIES, tiny_folder

LAYER = 2
TOKENS = torch.tensor([[5, 300, 40, 7, 260, 90, 33]])
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def everyone(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    found = {}
    for family in FAMILIES:
        loaded = load(resolve(str(tiny_folder(base, family)), base), dtype="float64")
        with torch.no_grad():
            found[family] = loaded, loaded.bridge.run_with_cache(TOKENS)[1]
    return found


def same_up_to_a_constant(left, right):
    """Whether two activations (1, T, d) differ by one vector (d,), a bias, at every position."""
    difference = (left - right)[0]
    assert left.std() > 0.1
    torch.testing.assert_close(
        difference, difference[:1].expand_as(difference), rtol=1e-5, atol=1e-5
    )


@families
def test_queries_keys_and_values(everyone, family):
    loaded, cache = everyone[family]
    normed = cache[f"blocks.{LAYER}.ln1.hook_out"].double()
    shapes = loaded.spec.shapes
    for part, heads in (("q", shapes.n_heads), ("k", shapes.n_kv_heads), ("v", shapes.n_kv_heads)):
        seen = cache[f"blocks.{LAYER}.attn.hook_{part}"]
        for head in range(heads):
            mine = (
                seen[:, :, head]
                if seen.dim() == 4
                else seen.unflatten(-1, (heads, -1))[..., head, :]
            )
            same_up_to_a_constant(mine, normed @ matrix(loaded, f"W_{part.upper()}", LAYER, head))


@families
def test_the_heads_add_up_to_the_attention_output(everyone, family):
    loaded, cache = everyone[family]
    n_heads = loaded.spec.shapes.n_heads
    z = cache[f"blocks.{LAYER}.attn.hook_z"]
    z = z if z.dim() == 4 else z.unflatten(-1, (n_heads, -1))
    total = sum(z[:, :, head] @ matrix(loaded, "W_O", LAYER, head) for head in range(n_heads))
    same_up_to_a_constant(cache[f"blocks.{LAYER}.hook_attn_out"], total)


@families
def test_out_of_the_mlp(everyone, family):
    loaded, cache = everyone[family]
    hidden = cache[f"blocks.{LAYER}.mlp.hook_post"]
    same_up_to_a_constant(
        cache[f"blocks.{LAYER}.hook_mlp_out"], hidden @ matrix(loaded, "W_out", LAYER)
    )


def test_into_a_plain_mlp(everyone):
    for family in ("gpt2", "neox"):
        loaded, cache = everyone[family]
        normed = cache[f"blocks.{LAYER}.ln2.hook_out"].double()
        before = cache[f"blocks.{LAYER}.mlp.hook_pre"]
        same_up_to_a_constant(before, normed @ matrix(loaded, "W_in", LAYER))
        with pytest.raises(RunFailure, match="no W_gate"):
            matrix(loaded, "W_gate", LAYER)


def test_into_a_gated_mlp(everyone):
    for family in ("llama", "qwen2"):
        loaded, cache = everyone[family]
        normed = cache[f"blocks.{LAYER}.ln2.hook_out"].double()
        gate = torch.nn.functional.silu(normed @ matrix(loaded, "W_gate", LAYER))
        torch.testing.assert_close(
            gate * (normed @ matrix(loaded, "W_in", LAYER)),
            cache[f"blocks.{LAYER}.mlp.hook_post"],
            rtol=1e-5,
            atol=1e-5,
        )


@families
def test_embedding_and_unembedding(everyone, family):
    loaded, cache = everyone[family]
    torch.testing.assert_close(matrix(loaded, "W_E")[TOKENS], cache["hook_embed"])
    normed = cache["ln_final.hook_out"].double()
    logits = normed @ matrix(loaded, "W_U")
    torch.testing.assert_close(logits, loaded.hf(TOKENS).logits, rtol=1e-5, atol=1e-5)


@families
def test_no_matrix_where_there_is_no_layer(everyone, family):
    with pytest.raises(RunFailure, match=r"W_out\[99\]"):
        matrix(everyone[family][0], "W_out", 99)


def test_no_matrix_for_a_head_that_is_not_there(everyone):
    with pytest.raises(RunFailure, match=r"W_Q\[2\.77\]"):
        matrix(everyone["llama"][0], "W_Q", LAYER, 77)


def random_model(config):
    """A model that TransformerLens is not needed for."""
    hf = AutoModelForCausalLM.from_config(config)
    shapes = shapes_from_config("m", config.to_dict(), "f")
    spec = ModelSpec(name="m", kind="folder", path=None, shapes=shapes)
    return with_source(spec, hf)


def with_source(spec, source):
    loaded = Loaded(spec, ("cpu",), torch.float32)
    loaded.source = source
    return loaded


SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


def test_phi_keeps_query_key_and_value_apart():
    loaded = random_model(PhiConfig(**SMALL))
    attention = loaded.hf.model.layers[LAYER].self_attn
    assert torch.equal(matrix(loaded, "W_K", LAYER, 1), attention.k_proj.weight[8:16].T)
    assert torch.equal(matrix(loaded, "W_O", LAYER, 3), attention.dense.weight[:, 24:32].T)
    assert matrix(loaded, "W_in", LAYER).shape == (32, 48)


def test_phi3_has_them_in_one_parameter_and_the_gate_too():
    loaded = random_model(Phi3Config(**SMALL))
    layer = loaded.hf.model.layers[LAYER]
    fused = torch.cat(
        [matrix(loaded, "W_Q", LAYER, h) for h in range(4)]
        + [matrix(loaded, name, LAYER, h) for name in ("W_K", "W_V") for h in range(2)],
        dim=1,
    )
    assert torch.equal(fused.T, layer.self_attn.qkv_proj.weight)
    gate, up = layer.mlp.gate_up_proj.weight.chunk(2)
    assert torch.equal(matrix(loaded, "W_gate", LAYER).T, gate)
    assert torch.equal(matrix(loaded, "W_in", LAYER).T, up)


def test_an_architecture_that_is_not_known(everyone):
    loaded = random_model(PhiConfig(**SMALL))
    config = {**loaded.hf.config.to_dict(), "model_type": "mystery"}
    spec = loaded.spec.model_copy(update={"shapes": shapes_from_config("m", config, "f")})
    with pytest.raises(RunFailure, match="not known here") as caught:
        matrix(with_source(spec, loaded.source), "W_out", 0)
    assert "models --families" in caught.value.help


def test_a_parameter_of_an_unexpected_shape(everyone):
    loaded = everyone["llama"][0]
    form = loaded.spec.shapes.form
    block = replace(form.blocks[0], mlp=replace(form.blocks[0].mlp, d_hidden=47))
    form = replace(form, blocks=(block, *form.blocks[1:]))
    shapes = loaded.spec.shapes.model_copy(update={"form": form})
    other = replace(loaded, spec=loaded.spec.model_copy(update={"shapes": shapes}))
    with pytest.raises(RunFailure, match=r"W_out\[0\] of .* is \(48, 32\), not \(47, 32\)"):
        matrix(other, "W_out", 0)


def test_the_toys_matrices(tmp_path):
    loaded = load(resolve("toy/illusion", tmp_path))
    assert matrix(loaded, "W_in", 0).tolist() == [[1, 1, 0]]
    assert matrix(loaded, "W_out", 0).tolist() == [[1], [0], [2]]
    with pytest.raises(RunFailure, match="no W_Q"):
        matrix(loaded, "W_Q", 0, 0)
