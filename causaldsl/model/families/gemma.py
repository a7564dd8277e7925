"""Gemma's families: norms with 1 + w, and norms behind attention and MLP too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from causaldsl.model.families.config import Config
from causaldsl.model.families.decoder import (
    by_type,
    gated,
    head_norms,
    llama_like,
    one_plus_rms,
    rotated,
)
from causaldsl.model.families.forms import (
    Architecture,
    Attention,
    Mlp,
)

_AROUND = {
    "before_attention": "input_layernorm",
    "after_attention": "post_attention_layernorm",
    "before_mlp": "pre_feedforward_layernorm",
    "after_mlp": "post_feedforward_layernorm",
}


def gemma(c: Config) -> Architecture:
    return _gemma(c, mlp=_gelu_gate(c, "hidden_act"))


def gemma2(c: Config) -> Architecture:
    types = c.layer_types(lambda layer: (layer + 1) % 2 != 0)
    capped = c.get("attn_logit_softcapping", 50.0)
    return _gemma(
        c,
        mlp=_gelu_gate(c, "hidden_activation"),
        places=_AROUND,
        attention=lambda _, plain: replace(plain, scale=_pre_attention(c), softcap=capped),
        window=by_type(c, types, 4096),
        logit_softcap=c.get("final_logit_softcapping", 30.0),
    )


def gemma3_text(c: Config, root: str = "model") -> Architecture:
    every = int(c.get("sliding_window_pattern", c.get("_sliding_window_pattern", 6)))
    types = c.layer_types(lambda layer: (layer + 1) % every != 0)
    heads = head_norms(c, one_plus_rms)

    def attention(layer: int, plain: Attention) -> Attention:
        scaled = replace(plain, scale=_pre_attention(c))
        return rotated(c, heads(layer, scaled), types[layer])

    return _gemma(
        c,
        mlp=_gelu_gate(c, "hidden_activation"),
        places=_AROUND,
        attention=attention,
        window=by_type(c, types, 4096),
        logit_softcap=c.get("final_logit_softcapping"),
        root=root,
    )


def gemma3(c: Config) -> Architecture:
    """The text part of the multimodal model."""
    return gemma3_text(c, "model.language_model")


def _gemma(c: Config, **different: Any) -> Architecture:
    return llama_like(
        c,
        norm=one_plus_rms,
        d_head=256,
        tied=True,
        embed_scale=c.d_model**0.5,
        **different,
    )


def _pre_attention(c: Config) -> float:
    return float(c.get("query_pre_attn_scalar", 256)) ** -0.5


def _gelu_gate(c: Config, key: str) -> Callable[[int, str], Mlp]:
    act = c.get(key) or "gelu_pytorch_tanh"
    return lambda layer, prefix: replace(gated(c, prefix), act=act)
