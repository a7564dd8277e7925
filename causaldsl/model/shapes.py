"""The dimensions of a model, read from its configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from causaldsl.diagnostics import Mistake


class Shapes(BaseModel):
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


_GATED = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo", "olmo2"}
_PARALLEL = {"gpt_neox", "gptj", "phi", "cohere", "codegen"}


def shapes_from_config(name: str, config: Mapping[str, Any], fingerprint: str) -> Shapes:
    """Shapes from a Hugging Face ``config.json``. Raises :class:`Mistake` on one we can't read."""

    def first(*keys: str) -> int | None:
        for key in keys:
            if config.get(key) is not None:
                return int(config[key])
        return None

    family = str(config.get("model_type", ""))
    n_layers = first("num_hidden_layers", "n_layer", "num_layers")
    d_model = first("hidden_size", "n_embd", "d_model")
    n_heads = first("num_attention_heads", "n_head", "num_heads")
    d_vocab = first("vocab_size")
    if n_layers is None or d_model is None or n_heads is None or d_vocab is None:
        raise Mistake(
            "unreadable-config",
            f"the configuration of {name} does not name its layers, width, heads or vocabulary",
            f"its model_type is {family!r}; a decoder-only Hugging Face config is expected",
        )
    d_mlp = first("intermediate_size", "n_inner", "ffn_dim") or 4 * d_model
    architectures = config.get("architectures") or [family]
    return Shapes(
        name=name,
        architecture=str(architectures[0]),
        n_layers=n_layers,
        d_model=d_model,
        n_heads=n_heads,
        n_kv_heads=first("num_key_value_heads") or n_heads,
        d_head=first("head_dim") or d_model // n_heads,
        d_mlp=d_mlp,
        d_vocab=d_vocab,
        n_ctx=first("max_position_embeddings", "n_positions", "n_ctx") or 2048,
        gated_mlp=family in _GATED,
        parallel=family in _PARALLEL and bool(config.get("use_parallel_residual", True)),
        fingerprint=fingerprint,
    )
