"""The dimensions of a model, read from its configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from causaldsl.diagnostics import Mistake


class ModelDims(BaseModel):
    """What checking and compiling need to know of a model.

    Sizes are in units of activations; ``parallel`` says that attention and MLP read the same
    residual stream; ``fingerprint`` identifies configuration and weights, and enters every content
    key of the graph.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    architecture: str
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    gated_mlp: bool
    parallel: bool = False
    fingerprint: str
    text: bool = True
    """False for a toy model whose inputs are numbers, not tokens."""


# The values of ``model_type`` that say what their configuration does not.
_GATED = {
    "cohere", "cohere2", "gemma", "gemma2", "gemma3", "gemma3_text", "glm", "granite", "llama",
    "mistral", "olmo", "olmo2", "olmo3", "phi3", "qwen2", "qwen3", "smollm3", "stablelm",
}  # fmt: skip
_PLAIN = {
    "bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "mpt",
    "opt", "phi", "starcoder2",
}  # fmt: skip
_PARALLEL = {"codegen", "cohere", "cohere2", "gptj", "phi"}
_PARALLEL_BY_DEFAULT = {"gpt_neox": True, "stablelm": False}
_HEAD_BY_DEFAULT = {"gemma": 256, "gemma2": 256, "gemma3": 256, "gemma3_text": 256, "qwen3": 128}


def shapes_from_config(name: str, config: Mapping[str, Any], fingerprint: str) -> ModelDims:
    """From a Hugging Face ``config.json``. Raises :class:`Mistake` on one that we can't read.

    Knows the spellings of GPT-2, GPT-J, GPT-NeoX (Pythia), Llama, Mistral, Qwen, Gemma, Phi, OLMo
    and Falcon; a multimodal configuration is read for its text part.
    """
    config = {**config, **(config.get("text_config") or {})}
    family = str(config.get("model_type", ""))
    n_layers = _first(config, "num_hidden_layers", "n_layer", "num_layers", "n_layers")
    d_model = _first(config, "hidden_size", "n_embd", "d_model")
    n_heads = _first(config, "num_attention_heads", "n_head", "num_heads", "n_heads")
    d_vocab = _first(config, "vocab_size")
    if n_layers is None or d_model is None or n_heads is None or d_vocab is None:
        raise Mistake(
            "unreadable-config",
            f"the configuration of {name} does not name its layers, width, heads or vocabulary",
            f"its model_type is {family!r}; a decoder-only Hugging Face config is expected",
        )
    d_head = _first(config, "head_dim") or _HEAD_BY_DEFAULT.get(family) or d_model // n_heads
    architectures = config.get("architectures") or [family]
    return ModelDims(
        name=name,
        architecture=str(architectures[0]),
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=_key_value_heads(config, family, n_heads),
        d_head=d_head,
        d_mlp=_first(config, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
        or 4 * d_model,
        d_vocab=d_vocab,
        n_ctx=_first(config, "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
        or 2048,
        gated_mlp=_gated(config, family),
        parallel=_parallel(config, family),
        fingerprint=fingerprint,
    )


def _first(config: Mapping[str, Any], *keys: str) -> int | None:
    """The first of these keys that is set, as a whole number."""
    for key in keys:
        if config.get(key) is not None:
            return int(config[key])
    return None


def _key_value_heads(config: Mapping[str, Any], family: str, n_heads: int) -> int:
    if family == "falcon" and not config.get("new_decoder_architecture", False):
        return 1 if config.get("multi_query", True) else n_heads
    if family == "gpt_bigcode":
        return 1 if config.get("multi_query", True) else n_heads
    return _first(config, "num_key_value_heads", "num_kv_heads") or n_heads


def _gated(config: Mapping[str, Any], family: str) -> bool:
    """Whether the MLP is gated; for a family unknown to us, SiLU is taken as the sign of it."""
    if family in _GATED:
        return True
    return family not in _PLAIN and config.get("hidden_act") == "silu"


def _parallel(config: Mapping[str, Any], family: str) -> bool:
    if family == "falcon":
        parallel = config.get("parallel_attn", True) or config.get("new_decoder_architecture")
        return bool(parallel)
    if family in _PARALLEL_BY_DEFAULT:
        return bool(config.get("use_parallel_residual", _PARALLEL_BY_DEFAULT[family]))
    return family in _PARALLEL
