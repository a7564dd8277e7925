"""Families that keep their weights in ways of their own: GPT-2 and what came of it, OPT, BLOOM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from causaldsl.model.families.config import Config
from causaldsl.model.families.decoder import layer
from causaldsl.model.families.forms import (
    QKV,
    Architecture,
    Attention,
    Block,
    Mlp,
    Norm,
    Positions,
    Rotary,
    Stored,
)


def _whole(
    c: Config, root: str, blocks: list[Block], last_norm: Norm | None, **different: Any
) -> Architecture:
    """A model with the usual names ``wte`` and ``lm_head``, tied unless the file says it is not."""
    whole = {
        "family": str(c.get("model_type")),
        "n_layers": c.n_layers,
        "d_model": c.d_model,
        "d_embed": c.d_model,
        "d_vocab": c.d_vocab,
        "n_ctx": c.n_ctx,
        "blocks": tuple(blocks),
        "embed": Stored(f"{root}.wte", inputs_first=True),
        "unembed": Stored("lm_head"),
        "last_norm": last_norm,
        "tied": bool(c.get("tie_word_embeddings", True)),
    }
    return Architecture(**{**whole, **different})


def _attention(
    c: Config, joined: str | None, order: Any, out: Stored, *names: str, **different: Any
) -> Attention:
    """Attention whose q, k and v are joined in one matrix, or have three ``names``."""
    size = c.d_model // c.n_heads
    inputs_first = out.inputs_first
    q, k, v = (
        Stored(joined, part, order, inputs_first) if joined else Stored(name, part)
        for part, name in zip(QKV, names or QKV, strict=True)
    )
    form = {"n_heads": c.n_heads, "n_kv_heads": c.n_heads, "d_head": size, "scale": size**-0.5}
    return Attention(q=q, k=k, v=v, out=out, **{**form, **different})


def _mlp(c: Config, up: Stored, down: Stored, act: str, key: str = "activation_function") -> Mlp:
    return Mlp("plain", str(c.get(key) or act), c.d_mlp, up, down)


def gpt2(c: Config) -> Architecture:
    def block(index: int) -> Block:
        at = f"transformer.h.{index}"
        out = Stored(f"{at}.attn.c_proj", inputs_first=True)
        attention = _attention(c, f"{at}.attn.c_attn", "joined", out)
        scale = attention.scale if c.get("scale_attn_weights", True) else 1.0
        if c.get("scale_attn_by_inverse_layer_idx", False):
            scale /= index + 1
        up, down = (Stored(f"{at}.mlp.{name}", inputs_first=True) for name in ("c_fc", "c_proj"))
        return Block(
            replace(attention, scale=scale),
            _mlp(c, up, down, "gelu_new"),
            before_attention=layer(c, f"{at}.ln_1"),
            before_mlp=layer(c, f"{at}.ln_2"),
        )

    blocks = [block(index) for index in range(c.n_layers)]
    last = layer(c, "transformer.ln_f")
    return _whole(c, "transformer", blocks, last, positions=Positions("transformer.wpe"))


def gpt_bigcode(c: Config) -> Architecture:
    shared = bool(c.get("multi_query", True))

    def block(index: int) -> Block:
        at = f"transformer.h.{index}"
        attention = _attention(
            c,
            f"{at}.attn.c_attn",
            "joined" if shared else "grouped",
            Stored(f"{at}.attn.c_proj"),
            n_kv_heads=1 if shared else c.n_heads,
        )
        scale = attention.scale if c.get("scale_attn_weights", True) else 1.0
        up, down = (Stored(f"{at}.mlp.{name}") for name in ("c_fc", "c_proj"))
        return Block(
            replace(attention, scale=scale),
            _mlp(c, up, down, "gelu_pytorch_tanh"),
            before_attention=layer(c, f"{at}.ln_1"),
            before_mlp=layer(c, f"{at}.ln_2"),
        )

    blocks = [block(index) for index in range(c.n_layers)]
    last = layer(c, "transformer.ln_f")
    return _whole(c, "transformer", blocks, last, positions=Positions("transformer.wpe"))


def gpt_neo(c: Config) -> Architecture:
    kinds = c.get("attention_layers") or [
        kind
        for pattern, times in c.get("attention_types", [[["global", "local"], c.n_layers // 2]])
        for kind in pattern * times
    ]

    def block(index: int) -> Block:
        at = f"transformer.h.{index}"
        inner = f"{at}.attn.attention"
        attention = _attention(
            c,
            None,
            "separate",
            Stored(f"{inner}.out_proj"),
            *(f"{inner}.{part}_proj" for part in QKV),
            scale=1.0,
            window=int(c.get("window_size", 256)) if kinds[index] == "local" else None,
        )
        up, down = (Stored(f"{at}.mlp.{name}") for name in ("c_fc", "c_proj"))
        return Block(
            attention,
            _mlp(c, up, down, "gelu_new"),
            before_attention=layer(c, f"{at}.ln_1"),
            before_mlp=layer(c, f"{at}.ln_2"),
        )

    blocks = [block(index) for index in range(c.n_layers)]
    last = layer(c, "transformer.ln_f")
    return _whole(c, "transformer", blocks, last, positions=Positions("transformer.wpe"))


def gptj(c: Config) -> Architecture:
    return _gptj(c, joined=False)


def codegen(c: Config) -> Architecture:
    return _gptj(c, joined=True)


def _gptj(c: Config, joined: bool) -> Architecture:
    """GPT-J, and CodeGen, which joins its q, v and k."""
    size = c.d_model // c.n_heads
    rotary = Rotary(int(c.get("rotary_dim", 64) or size), "interleaved")

    def block(index: int) -> Block:
        at = f"transformer.h.{index}"
        attention = _attention(
            c,
            f"{at}.attn.qkv_proj" if joined else None,
            "quarters",
            Stored(f"{at}.attn.out_proj"),
            *(f"{at}.attn.{part}_proj" for part in QKV),
            rotary=rotary,
        )
        norm = layer(c, f"{at}.ln_1")
        up, down = (Stored(f"{at}.mlp.{name}") for name in ("fc_in", "fc_out"))
        mlp = _mlp(c, up, down, "gelu_new")
        return Block(attention, mlp, before_attention=norm, before_mlp=norm, parallel=True)

    blocks = [block(index) for index in range(c.n_layers)]
    last = layer(c, "transformer.ln_f")
    tied = bool(c.get("tie_word_embeddings", False))
    return _whole(c, "transformer", blocks, last, tied=tied)


def gpt_neox(c: Config) -> Architecture:
    parallel = bool(c.get("use_parallel_residual", True))
    size = c.d_model // c.n_heads

    def block(index: int) -> Block:
        at = f"gpt_neox.layers.{index}"
        attention = _attention(
            c,
            f"{at}.attention.query_key_value",
            "grouped",
            Stored(f"{at}.attention.dense"),
            rotary=c.rotary(size, 0.25),
        )
        up, down = (Stored(f"{at}.mlp.{name}") for name in ("dense_h_to_4h", "dense_4h_to_h"))
        return Block(
            attention,
            _mlp(c, up, down, "gelu", "hidden_act"),
            before_attention=layer(c, f"{at}.input_layernorm"),
            before_mlp=layer(c, f"{at}.post_attention_layernorm"),
            parallel=parallel,
        )

    return _whole(
        c,
        "gpt_neox",
        [block(index) for index in range(c.n_layers)],
        layer(c, "gpt_neox.final_layer_norm"),
        embed=Stored("gpt_neox.embed_in", inputs_first=True),
        unembed=Stored("lm_head"),
        tied=bool(c.get("tie_word_embeddings", False)),
    )


def bloom(c: Config) -> Architecture:
    def block(index: int) -> Block:
        at = f"transformer.h.{index}"
        attention = _attention(
            c,
            f"{at}.self_attention.query_key_value",
            "grouped",
            Stored(f"{at}.self_attention.dense"),
            alibi="after",
        )
        up, down = (Stored(f"{at}.mlp.{name}") for name in ("dense_h_to_4h", "dense_4h_to_h"))
        return Block(
            attention,
            Mlp("plain", "bloom_gelu", 4 * c.d_model, up, down),
            before_attention=layer(c, f"{at}.input_layernorm"),
            before_mlp=layer(c, f"{at}.post_attention_layernorm"),
            skip_normed=bool(c.get("apply_residual_connection_post_layernorm", False)),
        )

    return _whole(
        c,
        "transformer",
        [block(index) for index in range(c.n_layers)],
        layer(c, "transformer.ln_f"),
        embed=Stored("transformer.word_embeddings", inputs_first=True),
        embed_norm=layer(c, "transformer.word_embeddings_layernorm"),
    )


def falcon(c: Config) -> Architecture:
    """The three layouts: one shared key head; groups (``new``); ALiBi and a key for each head."""
    new, shared = bool(c.get("new_decoder_architecture", False)), bool(c.get("multi_query", True))
    parallel = new or bool(c.get("parallel_attn", True))
    two = c.get("num_ln_in_parallel_attn")
    two = (2 if two is None else int(two)) == 2 if new else False
    n_kv_heads = c.n_kv_heads if new else 1 if shared else c.n_heads
    alibi = bool(c.get("alibi", False))
    form = {
        "n_kv_heads": n_kv_heads,
        "alibi": "before" if alibi else "",
        "rotary": None if alibi else c.rotary(c.d_model // c.n_heads),
    }

    def block(index: int) -> Block:
        at = f"transformer.h.{index}"
        attention = _attention(
            c,
            f"{at}.self_attention.query_key_value",
            "grouped",  # with one key head for all this is the same as joined
            Stored(f"{at}.self_attention.dense"),
            **form,
        )
        up, down = (Stored(f"{at}.mlp.{name}") for name in ("dense_h_to_4h", "dense_4h_to_h"))
        first = "ln_attn" if two else "input_layernorm"
        sequential = "input_layernorm" if parallel else "post_attention_layernorm"
        second = "ln_mlp" if two else sequential
        return Block(
            attention,
            _mlp(c, up, down, "gelu", "activation"),
            before_attention=layer(c, f"{at}.{first}"),
            before_mlp=layer(c, f"{at}.{second}"),
            parallel=parallel,
        )

    return _whole(
        c,
        "transformer",
        [block(index) for index in range(c.n_layers)],
        layer(c, "transformer.ln_f"),
        embed=Stored("transformer.word_embeddings", inputs_first=True),
    )


def mpt(c: Config) -> Architecture:
    told = c.get("attn_config") or {}

    def block(index: int) -> Block:
        at = f"transformer.blocks.{index}"
        attention = _attention(
            c,
            f"{at}.attn.Wqkv",
            "joined",
            Stored(f"{at}.attn.out_proj"),
            alibi="after",
            slopes="mpt",
            clip=told.get("clip_qkv") or None,
        )
        if told.get("softmax_scale") is not None:
            attention = replace(attention, scale=float(told["softmax_scale"]))
        up, down = (Stored(f"{at}.ffn.{name}") for name in ("up_proj", "down_proj"))
        return Block(
            attention,
            Mlp("plain", "gelu", 4 * c.d_model, up, down),
            before_attention=layer(c, f"{at}.norm_1"),
            before_mlp=layer(c, f"{at}.norm_2"),
        )

    blocks = [block(index) for index in range(c.n_layers)]
    return _whole(c, "transformer", blocks, layer(c, "transformer.norm_f"))


def opt(c: Config) -> Architecture:
    root = "model.decoder"
    before = bool(c.get("do_layer_norm_before", True))
    weight: Any = "times" if c.get("layer_norm_elementwise_affine", True) else "none"

    def norm(module: str) -> Norm:
        return Norm(module, "layer", 1e-5, weight)

    def block(index: int) -> Block:
        at = f"{root}.layers.{index}"
        inner = f"{at}.self_attn"
        attention = _attention(
            c,
            None,
            "separate",
            Stored(f"{inner}.out_proj"),
            *(f"{inner}.{part}_proj" for part in QKV),
        )
        norms = norm(f"{at}.self_attn_layer_norm"), norm(f"{at}.final_layer_norm")
        places = ("before_attention", "before_mlp") if before else ("stream_mid", "stream_post")
        mlp = _mlp(c, Stored(f"{at}.fc1"), Stored(f"{at}.fc2"), "relu")
        placed: dict[str, Any] = dict(zip(places, norms, strict=True))
        return Block(attention, mlp, **placed)

    d_embed = int(c.get("word_embed_proj_dim", c.d_model))
    projected = d_embed != c.d_model
    last = before and not c.get("_remove_final_layer_norm", False)
    return _whole(
        c,
        root,
        [block(index) for index in range(c.n_layers)],
        norm(f"{root}.final_layer_norm") if last else None,
        embed=Stored(f"{root}.embed_tokens", inputs_first=True),
        positions=Positions(f"{root}.embed_positions", 2),
        d_embed=d_embed,
        project_in=Stored(f"{root}.project_in") if projected else None,
        project_out=Stored(f"{root}.project_out") if projected else None,
    )
