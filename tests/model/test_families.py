"""Descriptions of families against the modules that transformers builds, on the meta device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from causaldsl.diagnostics import Mistake
from causaldsl.model.families.forms import Architecture, Mlp, Norm, Stored
from causaldsl.model.families.summary import rows, without_cone
from causaldsl.model.families.table import FAMILIES, describe
from causaldsl.model.shapes import ModelDims, shapes_from_config
from causaldsl.model.sites import Site, all_sites

USUAL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
SHARED = {**USUAL, "num_key_value_heads": 2}
GPT = {"vocab_size": 50, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_inner": 48}
NEO = {"vocab_size": 50, "hidden_size": 32, "num_layers": 4, "num_heads": 4}
NEO["attention_types"] = [[["global", "local"], 2]]
BLOOM = {"vocab_size": 50, "hidden_size": 32, "n_layer": 3, "n_head": 4}
MPT = {"vocab_size": 50, "d_model": 32, "n_layers": 3, "n_heads": 4}
OPT = {**USUAL, "ffn_dim": 48, "word_embed_proj_dim": 32}
OPT.pop("intermediate_size")
FALCON = {**USUAL, "ffn_hidden_size": 48}
FALCON.pop("intermediate_size")
EXPERTS = {**SHARED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
OWN: dict[str, dict[str, Any]] = {
    "gpt2": GPT, "gptj": GPT, "codegen": GPT, "gpt_bigcode": GPT, "gpt_neo": NEO, "bloom": BLOOM,
    "mpt": MPT, "opt": OPT, "falcon": FALCON, "gpt_neox": USUAL, "phi": USUAL,
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 40},
    "qwen3_moe": EXPERTS,
    "mixtral": {**SHARED, "num_local_experts": 4},
    "gpt_oss": {**SHARED, "num_local_experts": 4},
}  # fmt: skip
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon, new": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon, ALiBi": ("falcon", {"alibi": True, "multi_query": False, "parallel_attn": False}),
    "opt, norms behind": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 24}),
    "gpt_neox, sequential": ("gpt_neox", {"use_parallel_residual": False}),
    "phi, normed heads": ("phi", {"qk_layernorm": True}),
    "stablelm, parallel": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
    "cohere, normed heads": ("cohere", {"use_qk_norm": True}),
    "gpt2, by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "gpt_bigcode, own keys": ("gpt_bigcode", {"multi_query": False}),
    "qwen2, window above": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2},
    ),
    "qwen3_moe, dense layers": ("qwen3_moe", {"mlp_only_layers": [1], "decoder_sparse_step": 2}),
    "smollm3, window": ("smollm3", {"use_sliding_window": True, "sliding_window": 6}),
}
KINDS = {family: (family, {}) for family in FAMILIES if family != "gemma3"} | VARIANTS


def config_of(kind: str) -> Any:
    family, settings = KINDS[kind]
    return CONFIG_MAPPING[family](**{**OWN.get(family, SHARED), **settings})


def described(config: Any, folder: Path) -> Architecture:
    """From the file that a folder of the model has."""
    config.save_pretrained(folder)
    found = describe(json.loads((folder / "config.json").read_text()))
    assert found is not None
    return found


def shapes_of(kind: str) -> ModelDims:
    return shapes_from_config("m", config_of(kind).to_dict(), "f")


class Module:
    """A module without weights, and which of its parameters a description has named."""

    def __init__(self, config: Any):
        with torch.device("meta"):
            self.whole = AutoModelForCausalLM.from_config(config)
        self.parts = dict(self.whole.named_modules())
        self.parameters = dict(self.whole.named_parameters(remove_duplicate=False))
        self.named: set[str] = set()

    def has(self, name: str, *shape: int) -> None:
        assert tuple(self.parameters[name].shape) == shape, name
        self.named.add(name)

    def linear(self, place: Stored, outputs: int, inputs: int) -> None:
        order = (inputs, outputs) if place.inputs_first else (outputs, inputs)
        self.has(place.weight, *order)
        self.named.add(place.bias)

    def norm(self, norm: Norm) -> None:
        part = self.parts[norm.module]
        named = [getattr(part, name, None) for name in ("eps", "variance_epsilon")]
        eps = next((value for value in named if value is not None), 1e-5)  # OLMo's: in its code
        assert eps == norm.eps
        assert ("LayerNorm" in type(part).__name__) == (norm.kind == "layer")
        assert (getattr(part, "weight", None) is None) == (norm.weight == "none")
        one_plus = type(part).__name__.startswith(("Gemma", "Nemotron"))
        assert one_plus == (norm.weight == "one_plus")
        self.named |= {f"{norm.module}.weight", f"{norm.module}.bias"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_its_place(kind: str, tmp_path: Path) -> None:
    config = config_of(kind)
    form, module = described(config, tmp_path), Module(config)
    for block in form.blocks:
        a, width = block.attention, block.attention.d_head
        q, kv = a.n_heads * width, a.n_kv_heads * width
        if a.q.order == "separate":
            for place, outputs in ((a.q, q), (a.k, kv), (a.v, kv)):
                module.linear(place, outputs, form.d_model)
        else:
            assert a.q.module == a.k.module == a.v.module
            module.linear(a.q, q + 2 * kv, form.d_model)
            assert every_row(form) == list(range(q + 2 * kv))
        module.linear(a.out, form.d_model, q)
        if a.sinks:
            module.has(a.sinks, a.n_heads)
        _mlp(module, block.mlp, form.d_model)
    module.has(form.embed.weight, form.d_vocab, form.d_embed)
    module.linear(form.unembed, form.d_vocab, form.d_embed)
    for place, outputs, inputs in (
        (form.project_in, form.d_model, form.d_embed),
        (form.project_out, form.d_embed, form.d_model),
    ):
        if place is not None:
            module.linear(place, outputs, inputs)
    if form.positions is not None:
        module.has(f"{form.positions.module}.weight", form.n_ctx + form.positions.offset, 32)
    for norm in form.norms():
        module.norm(norm)
    assert module.parameters.keys() <= module.named
    tied = module.parameters[form.unembed.weight] is module.parameters[form.embed.weight]
    assert tied == form.tied


def every_row(form: Architecture) -> list[int]:
    """The rows of a joined q, k and v of a layer, each as often as some head claims it."""
    a = form.blocks[0].attention
    counts = ((a.q, a.n_heads), (a.k, a.n_kv_heads), (a.v, a.n_kv_heads))
    firsts = [
        place.first_row(head, a.n_heads, a.n_kv_heads, a.d_head)
        for place, count in counts
        for head in range(count)
    ]
    return sorted(first + i for first in firsts for i in range(a.d_head))


def _mlp(module: Module, mlp: Mlp, d_model: int) -> None:
    experts = mlp.experts
    if experts is None:
        assert mlp.up is not None
        assert mlp.down is not None
        joined = 2 if mlp.up.order == "joined" else 1
        for place in (mlp.up, mlp.gate):
            if place is not None:
                module.linear(place, joined * mlp.d_hidden, d_model)
        module.linear(mlp.down, d_model, mlp.d_hidden)
        return
    module.linear(experts.router, experts.n, d_model)
    inner, both = experts.d_hidden, 2 * experts.d_hidden
    into, out = (both, d_model), (d_model, inner)
    module.has(experts.gate_up, experts.n, *(into[::-1] if experts.inputs_first else into))
    module.has(experts.down, experts.n, *(out[::-1] if experts.inputs_first else out))
    if experts.biases:
        module.has(f"{experts.gate_up}_bias", experts.n, both)
        module.has(f"{experts.down}_bias", experts.n, d_model)
    if experts.shared is not None and experts.shared_gate is not None:
        _mlp(module, experts.shared, d_model)
        module.linear(experts.shared_gate, 1, d_model)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_module_says_of_its_attention(kind: str, tmp_path: Path) -> None:
    config = config_of(kind)
    form, module = described(config, tmp_path), Module(config)
    for index, block in enumerate(form.blocks):
        part: Any = module.parts[block.attention.out.module.rpartition(".")[0]]
        told = list(_scales(part))
        assert not told or told[0] == pytest.approx(block.attention.scale, rel=1e-12)
        if hasattr(part, "sliding_window"):
            assert part.sliding_window == block.attention.window
        elif hasattr(config, "sliding_window") and config.model_type in ("mistral", "mixtral"):
            assert block.attention.window == config.sliding_window
        if hasattr(part, "attn_logit_softcapping") and config.model_type == "gemma2":
            assert block.attention.softcap == part.attn_logit_softcapping
        assert block.attention.d_head == getattr(part, "head_dim", block.attention.d_head), index


def _scales(part: Any) -> Iterator[float]:
    for name in ("scaling", "inv_norm_factor", "softmax_scale"):
        if hasattr(part, name):
            yield float(getattr(part, name))
    if hasattr(part, "scale_attn"):
        yield 1 / float(part.scale_attn)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_leaves_out_what_is_usual(kind: str, tmp_path: Path) -> None:
    """The file and the whole configuration describe the same model."""
    config = config_of(kind)
    assert described(config, tmp_path) == describe(config.to_dict())


def test_a_short_file_has_the_defaults_of_its_family() -> None:
    for family in sorted(FAMILIES.keys() - {"gemma3"}):
        sizes = OWN.get(family, SHARED)
        whole = describe(CONFIG_MAPPING[family](**sizes).to_dict())
        short = describe({**sizes, "model_type": family})
        assert whole is not None
        assert short is not None
        assert replace(short, n_ctx=0) == replace(whole, n_ctx=0), family


def test_the_text_part_of_a_multimodal_configuration() -> None:
    text = {**SHARED, "model_type": "gemma3_text", "head_dim": 8}
    whole = describe({"model_type": "gemma3", "text_config": text})
    assert whole is not None
    assert whole.family == "gemma3"
    assert whole.embed.module == "model.language_model.embed_tokens"
    assert len(whole.blocks) == 8


def test_a_mixture_of_experts_has_no_neurons() -> None:
    shapes = shapes_of("mixtral")
    with pytest.raises(Mistake, match=r"layer 1 of m is a mixture of 4 experts") as caught:
        Site("mlp_hidden", 1).check(shapes)
    assert caught.value.help == "use mlp_out[1]"
    with pytest.raises(Mistake, match="mixture of 4 experts"):
        Site("random_mlp", 1, seed=0).check(shapes)
    assert "mlp_hidden" not in {site.kind for site in all_sites(shapes)}
    mixed = shapes_of("qwen3_moe, dense layers")
    layers = {site.layer for site in all_sites(mixed) if site.kind == "mlp_hidden"}
    assert layers == {0, 1, 2, 4, 6}
    assert Site("mlp_hidden", 2).width(mixed) == 48


def test_a_family_that_speaks_of_experts_and_is_unknown_has_none_either() -> None:
    shapes = shapes_from_config("m", {**USUAL, "model_type": "new", "n_routed_experts": 8}, "f")
    assert shapes.form is None
    with pytest.raises(Mistake, match="a mixture of experts"):
        Site("mlp_hidden", 0).check(shapes)


@pytest.mark.parametrize(
    ("hook", "kind", "use"),
    [
        ("blocks.2.ln2.hook_in", "llama", "use resid_mid[2]"),
        ("blocks.2.hook_resid_mid", "llama", "use resid_mid[2]"),
        ("blocks.2.ln1.hook_in", "llama", "use resid_pre[2]"),
        ("blocks.2.ln2.hook_in", "gpt_neox", "use resid_pre[2]"),
        ("blocks.2.attn.hook_in", "olmo2", "use resid_pre[2]"),
        ("blocks.2.ln1.hook_out", "phi", "use mlp_in[2], or resid_pre[2] for both"),
    ],
)
def test_a_hook_that_is_read_elsewhere_too(hook: str, kind: str, use: str) -> None:
    with pytest.raises(Mistake) as caught:
        Site("hook", hook=hook).check(shapes_of(kind))
    assert caught.value.code == "two-readers"
    assert caught.value.help == use


def test_a_hook_with_one_reader_is_taken() -> None:
    for kind in ("llama", "olmo2", "phi"):
        for hook in ("blocks.2.hook_resid_post", "blocks.2.mlp.hook_in", "ln_final.hook_in"):
            Site("hook", hook=hook).check(shapes_of(kind))
    Site("hook", hook="blocks.2.ln1.hook_out").check(shapes_of("llama"))


def test_the_table_has_every_family() -> None:
    made = list(rows())
    assert {row.family.partition(",")[0] for row in made} == set(FAMILIES)
    lacks = {row.family: row.lacks for row in made}
    assert lacks["mixtral"] == "mlp_hidden, random_mlp, W_in, W_gate, W_out"
    assert lacks["phi"] == "resid_mid, W_gate"
    assert lacks["llama"] == "-"


def test_what_the_cone_has_no_forward_pass_for() -> None:
    bloom = describe(
        {**BLOOM, "model_type": "bloom", "apply_residual_connection_post_layernorm": True}
    )
    assert bloom is not None
    assert "norms" in without_cone(bloom)


def test_how_long_the_frequencies_of_a_rotary_embedding_hold() -> None:
    rules = {"dynamic": {}, "longrope": {"original_max_position_embeddings": 16}, "linear": {}}
    found = {}
    for kind, more in rules.items():
        rope = {"rope_type": kind, "factor": 2.0, **more}
        llama = describe({**SHARED, "model_type": "llama", "rope_parameters": rope})
        assert llama is not None
        rotary = llama.blocks[0].attention.rotary
        assert rotary is not None
        found[kind] = rotary.longest
    assert found == {"dynamic": llama.n_ctx, "longrope": 16, "linear": None}
