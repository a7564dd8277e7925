"""Blocks whose weights have Llama's names; the families that have them say what is different."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from causaldsl.model.families.config import Config, Windows
from causaldsl.model.families.forms import Architecture, Attention, Block, Mlp, Norm, Stored

MakeNorm = Callable[[Config, str], Norm]
"""The norm that a family has under a name."""


def rms(c: Config, module: str) -> Norm:
    return Norm(module, "rms", float(c.get("rms_norm_eps", 1e-6)), rounds_first=True)


def rms_of(usual: float) -> MakeNorm:
    """A norm with another epsilon where the file says none."""
    return lambda c, module: replace(rms(c, module), eps=float(c.get("rms_norm_eps", usual)))


def rms_late(c: Config, module: str) -> Norm:
    """The RMS norm as OLMo 2 and GPT-OSS round it; their epsilon is larger too."""
    return Norm(module, "rms", float(c.get("rms_norm_eps", 1e-5)))


def one_plus_rms(c: Config, module: str) -> Norm:
    return replace(rms(c, module), weight="one_plus", rounds_first=False)


def layer(c: Config, module: str) -> Norm:
    keys = ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
    eps = next((c.get(key) for key in keys if c.get(key) is not None), 1e-5)
    return Norm(module, "layer", float(eps))


def llama_like(
    c: Config,
    *,
    norm: MakeNorm = rms,
    attention: Callable[[int, Attention], Attention] = lambda layer, attention: attention,
    mlp: Callable[[int, str], Mlp] | None = None,
    places: Mapping[str, str] | None = None,
    d_head: int | None = None,
    rotary: float = 1.0,
    window: Windows = lambda layer: None,
    tied: bool = False,
    root: str = "model",
    block: Mapping[str, Any] | None = None,
    **whole: Any,
) -> Architecture:
    """A model with Llama's names; the arguments say what is different in a family.

    ``places`` gives for each place of a norm in a block the name of the norm there; ``attention``
    and ``mlp`` change a layer's; ``block`` and ``whole`` are further fields of each block and of
    the model; ``tied`` is what holds if the configuration does not say.
    """
    if places is None:
        places = {
            "before_attention": "input_layernorm",
            "before_mlp": "post_attention_layernorm",
        }
    size = c.d_head(d_head)

    def build(index: int) -> Block:
        prefix = f"{root}.layers.{index}"
        plain = Attention(
            n_heads=c.n_heads,
            n_kv_heads=c.n_kv_heads,
            d_head=size,
            q=Stored(f"{prefix}.self_attn.q_proj", "q"),
            k=Stored(f"{prefix}.self_attn.k_proj", "k"),
            v=Stored(f"{prefix}.self_attn.v_proj", "v"),
            out=Stored(f"{prefix}.self_attn.o_proj"),
            scale=size**-0.5,
            rotary=c.rotary(size, rotary),
            window=window(index),
        )
        norms = {place: norm(c, f"{prefix}.{name}") for place, name in places.items()}
        make = mlp or (lambda layer, prefix: gated(c, prefix))
        changes = block or {}
        built = make(index, f"{prefix}.mlp")
        return Block(attention=attention(index, plain), mlp=built, **{**norms, **changes})

    d_model = c.d_model
    return Architecture(
        family=str(c.get("model_type")),
        n_layers=c.n_layers,
        d_model=d_model,
        d_embed=d_model,
        d_vocab=c.d_vocab,
        n_ctx=c.n_ctx,
        blocks=tuple(build(index) for index in range(c.n_layers)),
        embed=Stored(f"{root}.embed_tokens", inputs_first=True),
        unembed=Stored("lm_head"),
        last_norm=norm(c, f"{root}.norm"),
        tied=bool(c.get("tie_word_embeddings", tied)),
        **whole,
    )


def gated(c: Config, prefix: str, d_hidden: int | None = None) -> Mlp:
    """Llama's gated MLP."""
    return Mlp(
        kind="gated",
        act=str(c.get("hidden_act", "silu")),
        d_hidden=d_hidden or c.d_mlp,
        up=Stored(f"{prefix}.up_proj"),
        down=Stored(f"{prefix}.down_proj"),
        gate=Stored(f"{prefix}.gate_proj"),
    )


def joined_gate(c: Config) -> Callable[[int, str], Mlp]:
    """A gated MLP whose gate and up are one matrix."""

    def mlp(layer: int, prefix: str) -> Mlp:
        both = f"{prefix}.gate_up_proj"
        return replace(
            gated(c, prefix),
            up=Stored(both, "up", "joined"),
            gate=Stored(both, "gate", "joined"),
        )

    return mlp


def plain_mlp(c: Config, up: str, down: str, act: str) -> Callable[[int, str], Mlp]:
    def mlp(layer: int, prefix: str) -> Mlp:
        name = str(c.get("hidden_act", act))
        return Mlp("plain", name, c.d_mlp, Stored(f"{prefix}.{up}"), Stored(f"{prefix}.{down}"))

    return mlp


def head_norms(
    c: Config, norm: MakeNorm, names: tuple[str, str] = ("q_norm", "k_norm"), over: Any = "head"
) -> Callable[[int, Attention], Attention]:
    """Attention with norms of queries and keys."""

    def attention(layer: int, plain: Attention) -> Attention:
        owner = plain.out.module.rpartition(".")[0]
        q, k = (replace(norm(c, f"{owner}.{name}"), over=over) for name in names)
        return replace(plain, q_norm=q, k_norm=k)

    return attention


def everywhere(c: Config, default: int | None = None) -> Windows:
    """The same window in every layer."""
    window = c.get("sliding_window", default)
    return lambda layer: window


def by_type(c: Config, types: list[str], default: int | None) -> Windows:
    """A window in the layers of type ``sliding_attention``."""
    window = c.get("sliding_window", default)
    return lambda layer: window if types[layer] == "sliding_attention" else None


def rotated(c: Config, plain: Attention, layer_type: str) -> Attention:
    """Attention with the rotary embedding of its type of layer."""
    return replace(plain, rotary=c.rotary(plain.d_head, layer_type=layer_type))
