"""Cohere's families: parallel blocks, interleaved rotary pairs, scaled logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from causaldsl.model.families.config import Config
from causaldsl.model.families.decoder import (
    by_type,
    head_norms,
    layer,
    llama_like,
)
from causaldsl.model.families.forms import (
    Architecture,
    Attention,
)


def cohere(c: Config) -> Architecture:
    return _cohere(c, {}, lambda layer, plain: _cohere_norms(c, layer, plain))


def cohere2(c: Config) -> Architecture:
    every = int(c.get("sliding_window_pattern", 4))
    types = c.layer_types(lambda layer: (layer + 1) % every != 0)

    def attention(layer: int, plain: Attention) -> Attention:
        """Only layers with a window rotate."""
        return plain if plain.window is not None else replace(plain, rotary=None)

    return _cohere(c, {"window": by_type(c, types, 4096)}, attention)


def _cohere_norms(c: Config, index: int, plain: Attention) -> Attention:
    return head_norms(c, layer, over="own")(index, plain) if c.get("use_qk_norm") else plain


def _cohere(
    c: Config, different: dict[str, Any], attention: Callable[[int, Attention], Attention]
) -> Architecture:
    def interleaved(layer: int, plain: Attention) -> Attention:
        rotary = c.rotary(plain.d_head, pairs="interleaved")
        return attention(layer, replace(plain, rotary=rotary))

    return llama_like(
        c,
        norm=layer,
        attention=interleaved,
        places={"before_attention": "input_layernorm", "before_mlp": "input_layernorm"},
        block={"parallel": True},
        tied=True,
        logit_scale=float(c.get("logit_scale", 0.0625)),
        **different,
    )
