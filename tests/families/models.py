"""Tiny random models of every family that researchers use, in folders with a tokenizer.

``family_folder(folder, name)`` writes one. Weights are random, with norms away from 1 and biases
away from 0, so that leaving one out shows; positions are random too. Four layers, width 32, four
heads; windows of 6 tokens, which the prompts outgrow. Names are those of ``model_type``, with what
is set otherwise behind them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import transformers as T
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

NAMES = [
    "Mary", "John", "Tom", "Anna", "Kate", "Paul", "Mark", "Luke", "Sarah", "Laura", "Emma", "Jack",
    "Peter", "Alice", "Bob", "Carol", "David", "Eve", "Frank", "Grace", "Henry", "Irene",
]  # fmt: skip
PLACES = ["store", "school", "park", "beach", "office", "garden"]
_OTHER = [
    "Then", "After", "the", "and", "went", "to", "walked", "meeting", "had", "met", "at", "in",
    "on", "There", "gave", "a", "ring", "said", "One", "day", "together", "evening", "lots", "of",
    "fun",
]  # fmt: skip
LAYERS, WIDTH, HEADS, WINDOW = 4, 32, 4, 6


@dataclass(frozen=True)
class Tiny:
    """One family: its configuration class and what is set in it; ``bos`` if its tokenizer adds one.

    ``set`` is what goes beyond the sizes, which some families call by names of their own.
    """

    config: str
    set: dict[str, Any]
    bos: bool = False
    sizes: Callable[[int], dict[str, Any]] | None = None

    def make(self, d_vocab: int) -> Any:
        sizes = (self.sizes or _usual)(d_vocab)
        ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
        return getattr(T, self.config)(**{**sizes, **ends, **self.set})


def _usual(d_vocab: int) -> dict[str, Any]:
    return {
        "vocab_size": d_vocab,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": 64,
    }


def _gpt(d_vocab: int) -> dict[str, Any]:
    return {
        "vocab_size": d_vocab,
        "n_positions": 64,
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_inner": 48,
    }


def _neo(d_vocab: int) -> dict[str, Any]:
    out = _usual(d_vocab)
    return {
        "num_layers": out.pop("num_hidden_layers"),
        "num_heads": out.pop("num_attention_heads"),
        **out,
    }


def _opt(d_vocab: int) -> dict[str, Any]:
    out = _usual(d_vocab)
    return {"ffn_dim": out.pop("intermediate_size"), "word_embed_proj_dim": WIDTH, **out}


def _bloom(d_vocab: int) -> dict[str, Any]:
    sizes = {"vocab_size": d_vocab, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
    return {**sizes, "hidden_dropout": 0.0, "attention_dropout": 0.0}


def _falcon(d_vocab: int) -> dict[str, Any]:
    out = _usual(d_vocab)
    return {"ffn_hidden_size": out.pop("intermediate_size"), **out}


def _mpt(d_vocab: int) -> dict[str, Any]:
    sizes = {"vocab_size": d_vocab, "d_model": WIDTH, "n_layers": LAYERS, "n_heads": HEADS}
    return {**sizes, "max_seq_len": 64, "expansion_ratio": 2}


_SHARED = {"num_key_value_heads": 2}
_SHARED_8 = {**_SHARED, "head_dim": 8}
_WINDOWS = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": WINDOW}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
_GEMMA2 = {
    "head_dim": 12,
    "query_pre_attn_scalar": 20,
    "attn_logit_softcapping": 5.0,
    "final_logit_softcapping": 8.0,
}
_GRANITE = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.2,
    "logits_scaling": 2.0,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
_UNTIED = {"rotary_dim": 4, "tie_word_embeddings": False}

FAMILIES: dict[str, Tiny] = {
    "gpt2": Tiny("GPT2Config", {}, sizes=_gpt),
    "gpt2_by_layer": Tiny("GPT2Config", {"scale_attn_by_inverse_layer_idx": True}, sizes=_gpt),
    "gpt_neo": Tiny(
        "GPTNeoConfig",
        {"window_size": WINDOW, "attention_types": [[["global", "local"], 2]]},
        sizes=_neo,
    ),
    "gptj": Tiny("GPTJConfig", _UNTIED, sizes=_gpt),
    "gpt_neox": Tiny("GPTNeoXConfig", {"use_parallel_residual": True}),
    "gpt_neox_seq": Tiny("GPTNeoXConfig", {"use_parallel_residual": False}),
    "llama": Tiny("LlamaConfig", _SHARED, bos=True),
    "llama_biased": Tiny(
        "LlamaConfig", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}
    ),
    "llama_scaled": Tiny("LlamaConfig", {**_SHARED, "rope_parameters": _LLAMA3}, bos=True),
    "mistral": Tiny("MistralConfig", {**_SHARED_8, "sliding_window": WINDOW}, bos=True),
    "mistral_whole": Tiny("MistralConfig", {**_SHARED_8, "sliding_window": None}, bos=True),
    "mixtral": Tiny("MixtralConfig", {**_SHARED, **_LOCAL, "sliding_window": None}, bos=True),
    "qwen2": Tiny("Qwen2Config", {**_SHARED, "tie_word_embeddings": True}),
    "qwen2_windowed": Tiny(
        "Qwen2Config",
        {**_SHARED, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
    ),
    "qwen2_moe": Tiny(
        "Qwen2MoeConfig", {**_SHARED, **_EXPERTS, "shared_expert_intermediate_size": 40}
    ),
    "qwen3": Tiny("Qwen3Config", _SHARED_8),
    "qwen3_wide": Tiny("Qwen3Config", {**_SHARED, "head_dim": 12, "tie_word_embeddings": True}),
    "qwen3_moe": Tiny("Qwen3MoeConfig", {**_SHARED_8, **_EXPERTS}),
    "gpt_oss": Tiny("GptOssConfig", {**_SHARED_8, **_LOCAL, **_WINDOWS}),
    "gemma": Tiny("GemmaConfig", {"num_key_value_heads": 1, "head_dim": 12}, bos=True),
    "gemma2": Tiny("Gemma2Config", {**_SHARED, **_GEMMA2, "sliding_window": WINDOW}, bos=True),
    "gemma3": Tiny(
        "Gemma3TextConfig",
        {**_SHARED, "head_dim": 12, "query_pre_attn_scalar": 20, **_WINDOWS},
        bos=True,
    ),
    "phi": Tiny("PhiConfig", {"partial_rotary_factor": 0.5}),
    "phi_normed": Tiny("PhiConfig", {"partial_rotary_factor": 0.5, "qk_layernorm": True}),
    "phi3": Tiny("Phi3Config", {**_SHARED, "sliding_window": None}),
    "opt": Tiny("OPTConfig", {"dropout": 0.0}, bos=True, sizes=_opt),
    "opt_post": Tiny(
        "OPTConfig",
        {"dropout": 0.0, "word_embed_proj_dim": 24, "do_layer_norm_before": False},
        sizes=_opt,
    ),
    "bloom": Tiny("BloomConfig", {}, sizes=_bloom),
    "bloom_normed": Tiny(
        "BloomConfig", {"apply_residual_connection_post_layernorm": True}, sizes=_bloom
    ),
    "falcon": Tiny(
        "FalconConfig",
        {"multi_query": True, "parallel_attn": True, "bias": False, "alibi": False},
        sizes=_falcon,
    ),
    "falcon_new": Tiny(
        "FalconConfig",
        {"num_kv_heads": 2, "new_decoder_architecture": True, "bias": False, "alibi": False},
        sizes=_falcon,
    ),
    "falcon_new_one_norm": Tiny(
        "FalconConfig",
        {
            "num_kv_heads": 1,
            "new_decoder_architecture": True,
            "num_ln_in_parallel_attn": 1,
            "bias": True,
            "alibi": False,
        },
        sizes=_falcon,
    ),
    "falcon_alibi": Tiny(
        "FalconConfig",
        {"multi_query": False, "parallel_attn": False, "bias": True, "alibi": True},
        sizes=_falcon,
    ),
    "stablelm": Tiny(
        "StableLmConfig",
        {**_SHARED, "partial_rotary_factor": 0.5, "use_qkv_bias": True},
    ),
    "stablelm_par": Tiny(
        "StableLmConfig",
        {
            **_SHARED,
            "partial_rotary_factor": 0.5,
            "use_parallel_residual": True,
            "qk_layernorm": True,
        },
    ),
    "olmo": Tiny("OlmoConfig", {**_SHARED, "clip_qkv": 2.0}),
    "olmo2": Tiny("Olmo2Config", _SHARED, bos=True),
    "olmo3": Tiny("Olmo3Config", {**_SHARED, "sliding_window": WINDOW}),
    "smollm3": Tiny(
        "SmolLM3Config", {**_SHARED, "no_rope_layers": [1, 1, 1, 0], "use_sliding_window": False}
    ),
    "granite": Tiny("GraniteConfig", {**_SHARED, **_GRANITE}),
    "cohere": Tiny("CohereConfig", {**_SHARED, "logit_scale": 0.3, "use_qk_norm": True}, bos=True),
    "cohere2": Tiny("Cohere2Config", {**_SHARED, "logit_scale": 0.3, **_WINDOWS}),
    "starcoder2": Tiny("Starcoder2Config", {**_SHARED, "sliding_window": None}),
    "glm4": Tiny("Glm4Config", _SHARED_8),
    "glm": Tiny("GlmConfig", _SHARED_8),
    "gpt_bigcode": Tiny("GPTBigCodeConfig", {"multi_query": True}, sizes=_gpt),
    "mpt": Tiny("MptConfig", {}, sizes=_mpt),
    "codegen": Tiny("CodeGenConfig", _UNTIED, sizes=_gpt),
    "nemotron": Tiny("NemotronConfig", _SHARED),
    "seed_oss": Tiny("SeedOssConfig", _SHARED_8),
}

ON_HOOKS = ("bloom_normed",)
"""The cone must serve all others."""

_ZERO_CENTRED = ("gemma", "nemotron")
"""Families whose norms multiply by 1 + weight."""


def tokenizer(bos: bool) -> Tokenizer:
    """Byte-level: a token for each word, with or without a space before it; else bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = list(dict.fromkeys([*NAMES, *PLACES, *_OTHER]))
    wanted = ["<s>", "<pad>", *alphabet, *words, *("Ġ" + word for word in words)]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(wanted))}
    made = Tokenizer(models.BPE(vocab, [], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "<pad>"])
    if bos:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return made


def family_module(name: str, dtype: torch.dtype = torch.float64) -> Any:
    """The random module alone, in evaluation mode, its attention written out."""
    return _random(name, tokenizer(False).get_vocab_size(), dtype)


def family_folder(folder: Path, name: str, bos: bool | None = None) -> Path:
    """Write ``folder/name``: a random float32 model, as save_pretrained does, and its tokenizer."""
    path = Path(folder) / name
    path.mkdir(parents=True, exist_ok=True)
    family = FAMILIES[name]
    tokens = tokenizer(family.bos if bos is None else bos)
    module = _random(name, tokens.get_vocab_size(), torch.float32)
    module.save_pretrained(path)
    tokens.save(str(path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def _random(name: str, d_vocab: int, dtype: torch.dtype) -> Any:
    config = FAMILIES[name].make(d_vocab)
    made = T.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager")
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    with torch.no_grad():
        for path, parameter in made.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(dtype)
            parameter.copy_(noise * _size(path, parameter) + _centre(name, path, parameter))
    return cast(Any, made).eval().requires_grad_(False)


def _size(path: str, parameter: torch.Tensor) -> float:
    if parameter.dim() == 1 or "bias" in path or "sinks" in path:
        return 0.2
    if any(part in path for part in ("embed", "wte", "wpe")):
        return 0.7
    return 1.3 * cast(float, parameter.shape[-1] ** -0.5)


def _centre(name: str, path: str, parameter: torch.Tensor) -> float:
    """Norms scale by about 1."""
    is_norm = path.endswith("norm.weight") or (parameter.dim() == 1 and path.endswith("weight"))
    return 1.0 if is_norm and not name.startswith(_ZERO_CENTRED) else 0.0
