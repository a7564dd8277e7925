import pytest

from causaldsl.diagnostics import Mistake
from causaldsl.model.shapes import shapes_from_config
from causaldsl.model.sites import Site, all_sites

GPT2 = {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "architectures": ["LlamaForCausalLM"],
}


def shapes(config, **changes):
    return shapes_from_config("m", {**config, **changes}, "f")


def test_gpt2_spells_its_sizes_its_own_way():
    found = shapes(GPT2, n_positions=1024, n_inner=None)
    assert (found.n_layers, found.d_model, found.n_heads, found.d_vocab) == (12, 768, 12, 50257)
    assert (found.d_head, found.d_mlp, found.n_ctx, found.n_kv_heads) == (64, 3072, 1024, 12)
    assert not found.gated_mlp
    assert not found.parallel


def test_llama_with_shared_key_value_heads():
    found = shapes(LLAMA)
    assert (found.n_heads, found.n_kv_heads, found.d_head, found.d_mlp) == (9, 3, 64, 1536)
    assert found.gated_mlp
    assert not found.parallel
    assert found.architecture == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("family", "gated", "parallel"),
    [
        ("mistral", True, False),
        ("qwen2", True, False),
        ("qwen3", True, False),
        ("gemma", True, False),
        ("olmo", True, False),
        ("olmo2", True, False),
        ("phi", False, True),
        ("phi3", True, False),
        ("gpt_neox", False, True),
        ("starcoder2", False, False),
    ],
)
def test_gated_and_parallel_by_family(family, gated, parallel):
    found = shapes(LLAMA, model_type=family)
    assert (found.gated_mlp, found.parallel) == (gated, parallel)


def test_neox_says_whether_it_is_parallel():
    assert not shapes(LLAMA, model_type="gpt_neox", use_parallel_residual=False).parallel
    assert shapes(LLAMA, model_type="gpt_neox", use_parallel_residual=True).parallel
    assert not shapes(LLAMA, model_type="stablelm").parallel


def test_a_head_may_be_wider_than_its_share():
    assert shapes(LLAMA, head_dim=128).d_head == 128
    assert shapes(LLAMA, model_type="gemma").d_head == 256
    assert shapes(LLAMA, head_dim=None).d_head == 64


def test_one_key_value_head_for_all():
    assert shapes(GPT2, model_type="gpt_bigcode").n_kv_heads == 1
    assert shapes(LLAMA, model_type="falcon", num_key_value_heads=None).n_kv_heads == 1
    assert shapes(LLAMA, model_type="falcon", new_decoder_architecture=True).n_kv_heads == 3


def test_multimodal_configurations_are_read_for_their_text():
    config = {"model_type": "gemma3", "text_config": {**LLAMA, "model_type": "gemma3_text"}}
    assert shapes(config).n_layers == 30


def test_an_unreadable_configuration_is_a_mistake():
    with pytest.raises(Mistake, match="does not name its layers") as caught:
        shapes({"model_type": "resnet", "hidden_size": 4})
    assert caught.value.code == "unreadable-config"
    assert "resnet" in caught.value.help


def test_every_site_of_a_model_is_one_it_has():
    for config in (GPT2, LLAMA, {**LLAMA, "model_type": "gpt_neox"}):
        found = shapes(config)
        sites = all_sites(found)
        assert len(sites) == len(set(sites))
        for site in sites:
            site.check(found)
            width = site.width(found)
            assert width is None if site.is_pattern else width > 0
            assert "{" not in site.hook_name


def test_parallel_models_have_no_resid_mid():
    found = shapes(LLAMA, model_type="gpt_neox")
    assert Site("resid_mid", 3) not in all_sites(found)
    with pytest.raises(Mistake, match="in parallel"):
        Site("resid_mid", 3).check(found)
