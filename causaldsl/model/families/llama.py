"""Families that do most things as Llama does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from causaldsl.model.families.config import Config, Windows
from causaldsl.model.families.decoder import (
    by_type,
    everywhere,
    head_norms,
    joined_gate,
    layer,
    llama_like,
    plain_mlp,
    rms,
    rms_late,
    rms_of,
    rotated,
)
from causaldsl.model.families.forms import (
    QKV,
    Architecture,
    Attention,
    Norm,
    Stored,
)


def _upper_layers(c: Config) -> Windows:
    """Qwen: a window from a layer on, if it is switched on at all."""
    on = bool(c.get("use_sliding_window", False)) and c.get("sliding_window", 4096) is not None
    first = int(c.get("max_window_layers", 28))
    types = c.layer_types(lambda layer: on and layer >= first)
    return by_type(c, types, 4096) if on else (lambda layer: None)


def llama(c: Config) -> Architecture:
    return llama_like(c)


def mistral(c: Config) -> Architecture:
    return llama_like(c, window=everywhere(c, 4096))


def qwen2(c: Config) -> Architecture:
    return llama_like(c, window=_upper_layers(c))


def qwen3(c: Config) -> Architecture:
    return llama_like(c, window=_upper_layers(c), d_head=128, attention=head_norms(c, rms))


def seed_oss(c: Config) -> Architecture:
    return llama_like(c, d_head=128)


def smollm3(c: Config) -> Architecture:
    every = int(c.get("no_rope_layer_interval", 4))
    rotates = c.get("no_rope_layers") or [(i + 1) % every != 0 for i in range(c.n_layers)]
    on = bool(c.get("use_sliding_window", False)) and c.get("sliding_window") is not None
    types = c.layer_types(lambda layer: on and not rotates[layer])

    def attention(layer: int, plain: Attention) -> Attention:
        return plain if rotates[layer] else replace(plain, rotary=None)

    windows = by_type(c, types, None) if on else (lambda layer: None)
    return llama_like(c, attention=attention, window=windows, tied=True)


def granite(c: Config) -> Architecture:
    scale = float(c.get("attention_multiplier", 1.0))
    return llama_like(
        c,
        attention=lambda layer, plain: replace(plain, scale=scale),
        block={"add_scale": float(c.get("residual_multiplier", 1.0))},
        embed_scale=float(c.get("embedding_multiplier", 1.0)),
        logit_scale=1 / float(c.get("logits_scaling", 1.0)),
    )


def phi3(c: Config) -> Architecture:
    def attention(layer: int, plain: Attention) -> Attention:
        joined = plain.out.module.removesuffix("o_proj") + "qkv_proj"
        q, k, v = (Stored(joined, part, "joined") for part in QKV)
        return replace(plain, q=q, k=k, v=v)

    return llama_like(
        c, norm=rms_of(1e-5), attention=attention, mlp=joined_gate(c), window=everywhere(c)
    )


def phi(c: Config) -> Architecture:
    normed = head_norms(c, layer, ("q_layernorm", "k_layernorm"))

    def attention(index: int, plain: Attention) -> Attention:
        out = Stored(plain.out.module.removesuffix("o_proj") + "dense")
        plain = replace(plain, out=out)
        return normed(index, plain) if c.get("qk_layernorm", False) else plain

    found = llama_like(
        c,
        norm=layer,
        attention=attention,
        mlp=plain_mlp(c, "fc1", "fc2", "gelu_new"),
        places={"before_attention": "input_layernorm", "before_mlp": "input_layernorm"},
        rotary=0.5,
        block={"parallel": True},
    )
    return replace(found, last_norm=layer(c, "model.final_layernorm"))


def starcoder2(c: Config) -> Architecture:
    mlp = plain_mlp(c, "c_fc", "c_proj", "gelu_pytorch_tanh")
    return llama_like(c, norm=layer, mlp=mlp, window=everywhere(c), tied=True)


def nemotron(c: Config) -> Architecture:
    def one_plus(c: Config, module: str) -> Norm:
        return replace(layer(c, module), weight="one_plus")

    return llama_like(
        c, norm=one_plus, mlp=plain_mlp(c, "up_proj", "down_proj", "relu2"), rotary=0.5
    )


def stablelm(c: Config) -> Architecture:
    parallel = bool(c.get("use_parallel_residual", False))
    second = "input_layernorm" if parallel else "post_attention_layernorm"
    names = ("q_layernorm.norms.{h}", "k_layernorm.norms.{h}")
    normed = head_norms(c, layer, names, "own")
    return llama_like(
        c,
        norm=layer,
        attention=normed if c.get("qk_layernorm", False) else (lambda index, plain: plain),
        places={"before_attention": "input_layernorm", "before_mlp": second},
        rotary=0.25,
        block={"parallel": parallel},
    )


_BEHIND = {
    "after_attention": "post_attention_layernorm",
    "after_mlp": "post_feedforward_layernorm",
}


def olmo(c: Config) -> Architecture:
    def weightless(c: Config, module: str) -> Norm:
        return Norm(module, "layer", 1e-5, weight="none")

    clip = c.get("clip_qkv")
    return llama_like(c, norm=weightless, attention=lambda _, plain: replace(plain, clip=clip))


def olmo2(c: Config) -> Architecture:
    heads = head_norms(c, rms_late, over="projection")
    return llama_like(c, norm=rms_late, places=_BEHIND, attention=heads)


def olmo3(c: Config) -> Architecture:
    types = c.layer_types(lambda layer: (layer + 1) % 4 != 0)
    heads = head_norms(c, rms_late, over="projection")
    return llama_like(
        c,
        norm=rms_late,
        places=_BEHIND,
        attention=lambda layer, plain: rotated(c, heads(layer, plain), types[layer]),
        window=by_type(c, types, 4096),
    )


def glm(c: Config) -> Architecture:
    return _glm(c)


def glm4(c: Config) -> Architecture:
    return _glm(
        c,
        places={
            "before_attention": "input_layernorm",
            "after_attention": "post_self_attn_layernorm",
            "before_mlp": "post_attention_layernorm",
            "after_mlp": "post_mlp_layernorm",
        },
    )


def _glm(c: Config, **different: Any) -> Architecture:
    def attention(layer: int, plain: Attention) -> Attention:
        return replace(plain, rotary=c.rotary(plain.d_head, 0.5, "interleaved"))

    return llama_like(
        c, norm=rms_of(1.5625e-07), d_head=128, attention=attention, mlp=joined_gate(c), **different
    )
