"""Families with mixtures of experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from causaldsl.model.families.config import Config
from causaldsl.model.families.decoder import (
    by_type,
    everywhere,
    gated,
    head_norms,
    llama_like,
    rms,
    rms_late,
    rms_of,
)
from causaldsl.model.families.forms import (
    Architecture,
    Attention,
    Experts,
    Mlp,
    Stored,
)


def _sparse_layers(c: Config, n: int) -> Callable[[int], bool]:
    """Which layers of a Qwen have experts, of which there are ``n``."""
    dense = c.get("mlp_only_layers") or []
    step = int(c.get("decoder_sparse_step", 1))
    return lambda layer: layer not in dense and n > 0 and (layer + 1) % step == 0


def _n_experts(c: Config, default: int) -> int:
    found = c.first("num_local_experts", "num_experts")
    return default if found is None else found


def _experts(c: Config, prefix: str, per_token: int, n: int, **changes: Any) -> Mlp:
    d_hidden = c.first("moe_intermediate_size") or c.d_mlp
    experts = Experts(
        n=n,
        per_token=int(c.get("num_experts_per_tok", per_token)),
        d_hidden=d_hidden,
        router=Stored(f"{prefix}.gate"),
        gate_up=f"{prefix}.experts.gate_up_proj",
        down=f"{prefix}.experts.down_proj",
    )
    act = str(c.get("hidden_act", "silu"))
    return Mlp("experts", act, d_hidden, experts=replace(experts, **changes))


def mixtral(c: Config) -> Architecture:
    def mlp(layer: int, prefix: str) -> Mlp:
        return _experts(c, prefix, 2, _n_experts(c, 8))

    return llama_like(c, norm=rms_of(1e-5), mlp=mlp, window=everywhere(c))


def qwen2_moe(c: Config) -> Architecture:
    n = _n_experts(c, 60)
    sparse = _sparse_layers(c, n)
    d_shared = int(c.get("shared_expert_intermediate_size", 5632))

    def mlp(layer: int, prefix: str) -> Mlp:
        if not sparse(layer):
            return gated(c, prefix)
        return _experts(
            c,
            prefix,
            4,
            n,
            renormalised=bool(c.get("norm_topk_prob", False)),
            shared=gated(c, f"{prefix}.shared_expert", d_shared),
            shared_gate=Stored(f"{prefix}.shared_expert_gate"),
        )

    on, first = bool(c.get("use_sliding_window", False)), int(c.get("max_window_layers", 28))
    types = c.layer_types(lambda layer: on and layer < first and (layer + 1) % 2 != 0)
    windows = by_type(c, types, 4096) if on else (lambda layer: None)
    return llama_like(c, mlp=mlp, window=windows)


def qwen3_moe(c: Config) -> Architecture:
    n = _n_experts(c, 128)
    sparse = _sparse_layers(c, n)

    def mlp(layer: int, prefix: str) -> Mlp:
        if not sparse(layer):
            return gated(c, prefix)
        renormalised = bool(c.get("norm_topk_prob", False))
        return _experts(c, prefix, 8, n, renormalised=renormalised)

    on = bool(c.get("use_sliding_window", False))
    windows = everywhere(c, 4096) if on else (lambda layer: None)
    return llama_like(c, mlp=mlp, window=windows, attention=head_norms(c, rms))


def gpt_oss(c: Config) -> Architecture:
    types = c.layer_types(lambda layer: (layer + 1) % 2 != 0)

    def attention(layer: int, plain: Attention) -> Attention:
        sinks = plain.out.module.removesuffix("o_proj") + "sinks"
        told = c.get("rope_parameters") or c.get("rope_scaling")
        assert plain.rotary is not None
        rotary = plain.rotary if told else replace(plain.rotary, kind="yarn")
        return replace(plain, sinks=sinks, rotary=rotary)

    def mlp(layer: int, prefix: str) -> Mlp:
        return _experts(
            c,
            prefix,
            4,
            _n_experts(c, 128),
            router=Stored(f"{prefix}.router"),
            softmax="chosen",
            inputs_first=True,
            interleaved=True,
            biases=True,
            limit=float(c.get("swiglu_limit", 7.0)),
            alpha=float(c.get("swiglu_alpha", 1.702)),
        )

    return llama_like(
        c,
        norm=rms_late,
        d_head=64,
        attention=attention,
        mlp=mlp,
        window=by_type(c, types, 128),
    )
