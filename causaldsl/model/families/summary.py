"""The table of families: what is different in each, what it lacks, and what can be done with it.

Nothing here is written by hand for a family: a small model of each is described by the functions
that read configurations, and the description is put into words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from causaldsl.model.families.forms import Architecture, Attention, Block, Norm
from causaldsl.model.families.table import FAMILIES
from causaldsl.model.matrices import stored
from causaldsl.model.shapes import ModelDims, shapes_from_config
from causaldsl.model.sites import has_site
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.sites import SITES

_SMALL = {
    "num_hidden_layers": 8,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_kv_heads": 2,
    "vocab_size": 100,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "attention_multiplier": 0.1,
    "logits_scaling": 8.0,
}
_VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "bloom": {
        "apply_residual_connection_post_layernorm": {
            "apply_residual_connection_post_layernorm": True
        }
    },
    "cohere": {"with use_qk_norm": {"use_qk_norm": True}},
    "falcon": {
        "new_decoder_architecture": {"new_decoder_architecture": True},
        "alibi": {"alibi": True, "multi_query": False, "parallel_attn": False},
    },
    "gpt_neox": {"use_parallel_residual off": {"use_parallel_residual": False}},
    "olmo": {"with clip_qkv": {"clip_qkv": 8.0}},
    "opt": {
        "do_layer_norm_before off": {"do_layer_norm_before": False, "word_embed_proj_dim": 16},
    },
    "phi": {"with qk_layernorm": {"qk_layernorm": True}},
    "stablelm": {
        "use_parallel_residual, qk_layernorm": {"use_parallel_residual": True, "qk_layernorm": True}
    },
}
"""Settings that make another kind of model of a family."""


@dataclass(frozen=True)
class Row:
    """A family, or a variant of it, in words; ``lacks`` are sites and matrices of no layer."""

    family: str
    norms: str
    attention: str
    mlp: str
    ends: str
    lacks: str
    backends: str
    policies: str


def rows() -> Iterator[Row]:
    """Every family that is known, each with its variants."""
    for family in sorted(FAMILIES):
        plain: dict[str, dict[str, Any]] = {"": {}}
        for variant, settings in (plain | _VARIANTS.get(family, {})).items():
            config = {**_SMALL, **settings, "model_type": family}
            shapes = shapes_from_config(family, config, "")
            assert shapes.form is not None
            yield _row(family + (f", {variant}" if variant else ""), shapes, shapes.form)


def _row(name: str, shapes: ModelDims, form: Architecture) -> Row:
    block = form.blocks[0]
    return Row(
        name,
        _norms(form),
        _attention(form),
        _mlp(block),
        _ends(form) or "-",
        ", ".join(_lacks(shapes)) or "-",
        "hooks" if without_cone(form) else "cone, hooks",
        "all",  # those of a family that is not described are fewer
    )


def without_cone(form: Architecture, longest: int = 0) -> str:
    """Why the cone has no forward pass for a model that is described; "" if it has one.

    ``longest`` is the number of tokens of the longest prompt.
    """
    rotary = [block.attention.rotary for block in form.blocks]
    limit = min((r.longest for r in rotary if r and r.longest), default=longest)
    if longest > limit:
        return (
            f"its rotary embedding changes in prompts of more than {limit} tokens, "
            f"and one here has {longest}"
        )
    if any(block.skip_normed for block in form.blocks):
        return "its stream goes on from its norms' outputs"
    heads = {(b.attention.n_heads, b.attention.n_kv_heads, b.attention.d_head) for b in form.blocks}
    return "its layers have different numbers of heads" if len(heads) > 1 else ""


def _norms(form: Architecture) -> str:
    block = form.blocks[0]
    norm = next(block.norms())
    kind = {"layer": "layer norm", "rms": "RMS norm"}[norm.kind]
    weight = {"times": "", "one_plus": ", 1 + w", "none": ", no weights"}[norm.weight]
    return "; ".join([f"{kind}{weight}: {_places(block)}", *_of_heads(block.attention)])


def _places(block: Block) -> str:
    before = block.before_attention is not None
    behind = block.after_attention is not None
    if block.stream_mid is not None:
        return "on the stream, behind each sum"
    where = "before and behind" if before and behind else "behind" if behind else "before"
    if not block.parallel:
        return where
    one = block.before_attention == block.before_mlp
    return f"{where}; parallel, {'one norm' if one else 'two norms'}"


def _of_heads(attention: Attention) -> Iterator[str]:
    norm: Norm | None = attention.q_norm
    if norm is not None:
        over = {
            "head": "by head",
            "own": "by head, own weights",
            "projection": "all heads together",
        }
        yield f"q and k: {over[norm.over]}"


def _attention(form: Architecture) -> str:
    every = [block.attention for block in form.blocks]
    first = every[0]
    rotating = [attention.rotary for attention in every if attention.rotary is not None]
    found = []
    if rotating:
        part = "" if rotating[0].dims == first.d_head else ", partly"
        some = "" if len(rotating) == len(every) else ", some layers"
        pairs = ", pairs" if rotating[0].pairs == "interleaved" else ""
        found.append(f"rotary{pairs}{part}{some}")
    if first.alibi:
        found.append("ALiBi")
    if form.positions is not None:
        found.append("learned positions")
    windows = [attention.window is not None for attention in every]
    if any(windows):
        found.append("window" if all(windows) else "window in some layers")
    if first.scale != first.d_head**-0.5:
        found.append("own scale")
    found += ["soft cap"] * (first.softcap is not None) + ["sinks"] * bool(first.sinks)
    found += ["clipped q, k, v"] * (first.clip is not None)
    return ", ".join(found)


def _mlp(block: Block) -> str:
    mlp, experts = block.mlp, block.mlp.experts
    if experts is None:
        return f"{mlp.kind}, {mlp.act}"
    shared = ", one shared" if experts.shared is not None else ""
    return f"experts{shared}, {mlp.act}"


def _ends(form: Architecture) -> str:
    found = []
    if form.embed_scale != 1:
        found.append("embedding times a constant")
    if form.embed_norm is not None:
        found.append("embedding normed")
    if form.project_in is not None:
        found.append("embedding projected")
    if form.blocks[0].add_scale != 1:
        found.append("what is added times a constant")
    if form.last_norm is None:
        found.append("no last norm")
    if form.logit_scale != 1:
        found.append("logits times a constant")
    if form.logit_softcap is not None:
        found.append("logits softly capped")
    return ", ".join(found)


def _lacks(shapes: ModelDims) -> Iterator[str]:
    """Sites and matrices that the family has in no layer; shared keys and values are no lack."""
    for word in SITES.values():
        if word.needs in ("sequential", "neurons") and not has_site(shapes, word):
            yield word.word
    for name, matrix in MATRIX_WORDS.items():
        layers = [None] if matrix.index == "none" else range(shapes.n_layers)
        if all(stored(name, layer, shapes) is None for layer in layers):
            yield name
