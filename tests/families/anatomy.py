"""Where each family of transformers keeps its parts: an own table, read off the modeling code.

Imports nothing from causaldsl. Paths are those of submodules, in a block unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Anatomy:
    """One kind of model.

    ``embed`` and ``blocks`` are in the model, all others in a block. ``out`` is a head's W_O,
    ``down`` an MLP's W_out (none in a mixture of experts). What is added to the stream is the
    output of ``attention_end`` and ``mlp_end``, times the model's residual multiplier if it has
    one. ``middle`` reads the stream between the two (none where they read the same stream).
    ``qkv`` are three maps, or one whose outputs lie as ``fused`` says.
    """

    embed: str = "model.embed_tokens"
    blocks: str = "model.layers"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    fused: str = ""
    out: str = "self_attn.o_proj"
    attention_end: str = ""
    middle: str | None = "post_attention_layernorm"
    mlp: str = "mlp"
    down: str | None = "mlp.down_proj"
    mlp_end: str = ""
    stream_is_normed: bool = False
    """Whether norms lie on the stream itself, so that ``middle`` gives what goes on."""
    goes_on_normed: bool = False
    """Whether nothing goes past ``middle``: what it gives is both read and added to."""

    @cached_property
    def ends(self) -> tuple[str, str]:
        return self.attention_end or self.out, self.mlp_end or self.down or self.mlp


_LLAMA = Anatomy()
_MOE = replace(_LLAMA, down=None)
_GPT = Anatomy(
    embed="transformer.wte",
    blocks="transformer.h",
    qkv=("attn.c_attn",),
    fused="joined",
    out="attn.c_proj",
    middle="ln_2",
    down="mlp.c_proj",
)
_GPTJ = replace(
    _GPT,
    qkv=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    fused="",
    out="attn.out_proj",
    middle=None,
    down="mlp.fc_out",
)
_NEO = tuple(f"attn.attention.{x}_proj" for x in "qkv")
_AFTER = replace(
    _LLAMA,
    attention_end="post_attention_layernorm",
    middle="mlp",
    mlp_end="post_feedforward_layernorm",
)
_AROUND = replace(_AFTER, middle="pre_feedforward_layernorm")
_NEOX = Anatomy(
    embed="gpt_neox.embed_in",
    blocks="gpt_neox.layers",
    qkv=("attention.query_key_value",),
    fused="by head",
    out="attention.dense",
    down="mlp.dense_4h_to_h",
)
_BLOOM = replace(
    _NEOX,
    embed="transformer.word_embeddings",
    blocks="transformer.h",
    qkv=("self_attention.query_key_value",),
    out="self_attention.dense",
)
_OPT = Anatomy(
    embed="model.decoder.embed_tokens",
    blocks="model.decoder.layers",
    out="self_attn.out_proj",
    middle="final_layer_norm",
    mlp="fc1",
    down="fc2",
)
_MPT = Anatomy(
    embed="transformer.wte",
    blocks="transformer.blocks",
    qkv=("attn.Wqkv",),
    fused="joined",
    out="attn.out_proj",
    middle="norm_2",
    mlp="ffn",
    down="ffn.down_proj",
)
_PHI = replace(_LLAMA, out="self_attn.dense", middle=None, down="mlp.fc2")

_BY_TYPE = {
    "codegen": replace(_GPTJ, qkv=("attn.qkv_proj",), fused="four"),
    "cohere": replace(_LLAMA, middle=None),
    "cohere2": replace(_LLAMA, middle=None),
    "gemma": _LLAMA,
    "gemma2": _AROUND,
    "gemma3_text": _AROUND,
    "glm": _LLAMA,
    "glm4": replace(_LLAMA, attention_end="post_self_attn_layernorm", mlp_end="post_mlp_layernorm"),
    "gpt2": _GPT,
    "gpt_neo": replace(_GPT, qkv=_NEO, fused="", out="attn.attention.out_proj"),
    "gpt_oss": _MOE,
    "gptj": _GPTJ,
    "granite": _LLAMA,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _MOE,
    "mpt": _MPT,
    "nemotron": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _AFTER,
    "olmo3": _AFTER,
    "phi": _PHI,
    "phi3": replace(_LLAMA, qkv=("self_attn.qkv_proj",), fused="joined"),
    "qwen2": _LLAMA,
    "qwen2_moe": _MOE,
    "qwen3": _LLAMA,
    "qwen3_moe": _MOE,
    "seed_oss": _LLAMA,
    "smollm3": _LLAMA,
    "starcoder2": replace(_LLAMA, down="mlp.c_proj"),
}


def anatomy_of(config: Any) -> Anatomy:
    """The parts of a model with this configuration."""
    kind = config.model_type
    if kind == "gpt_neox":
        return replace(_NEOX, middle=None) if config.use_parallel_residual else _NEOX
    if kind == "stablelm":
        return replace(_LLAMA, middle=None) if config.use_parallel_residual else _LLAMA
    if kind == "opt":
        if config.do_layer_norm_before:
            return _OPT
        return replace(_OPT, middle="self_attn_layer_norm", stream_is_normed=True)
    if kind == "bloom":
        return replace(_BLOOM, goes_on_normed=config.apply_residual_connection_post_layernorm)
    if kind == "gpt_bigcode":
        return _GPT if config.multi_query else replace(_GPT, fused="by head")
    if kind == "falcon":
        by_group = config.new_decoder_architecture
        fused = "by group" if by_group else "joined" if config.multi_query else "by head"
        middle = _BLOOM.middle if not (config.parallel_attn or by_group) else None
        return replace(_BLOOM, fused=fused, middle=middle)
    return _BY_TYPE[kind]


class Model:
    """A module, its parts by name, and the sizes of its heads."""

    def __init__(self, module: nn.Module):
        self.module: Any = module
        self.config: Any = module.config
        self.parts = anatomy_of(self.config)
        self.blocks: Any = module.get_submodule(self.parts.blocks)
        self.heads: int = self.config.num_attention_heads
        self.kv_heads = _key_value_heads(self.config)
        weight: Any = self.part(0, self.parts.out).weight
        # GPT-2 stores (inputs, outputs), all others the other way round.
        self.transposed = type(self.part(0, self.parts.out)).__name__ == "Conv1D"
        self.d_head = weight.shape[0 if self.transposed else 1] // self.heads
        self._made: dict[Any, Any] = {}
        self.multiplier = float(getattr(self.config, "residual_multiplier", 1.0))
        self.logit_cap: float | None = getattr(self.config, "final_logit_softcapping", None)

    def remembered(self, tokens: Tensor, make: Callable[[Model, Tensor], Any]) -> Any:
        """What ``make`` found for these prompts when first asked."""
        key = tuple(map(tuple, tokens.tolist()))
        if key not in self._made:
            self._made[key] = make(self, tokens)
        return self._made[key]

    def part(self, layer: int, path: str) -> Any:
        return self.blocks[layer].get_submodule(path)

    @property
    def embed(self) -> Any:
        return self.module.get_submodule(self.parts.embed)

    @property
    def embed_scale(self) -> float:
        """What the embedding module itself multiplies a token's row by."""
        return float(getattr(self.embed, "embed_scale", 1.0))

    def W_O(self, layer: int, head: int) -> Any:
        """(d_head, d)."""
        weight = self.part(layer, self.parts.out).weight
        rows = slice(head * self.d_head, (head + 1) * self.d_head)
        return weight[rows] if self.transposed else weight[:, rows].T

    def of_qkv(self, layer: int, part: str, head: int) -> tuple[Any, slice]:
        """The map that gives q of a head, or k or v of a key-value head, and its columns."""
        d, paths = self.d_head, self.parts.qkv
        if len(paths) == 3:
            first, path = head * d, paths["qkv".index(part)]
        else:
            first, path = self._first(part, head), paths[0]
        return self.part(layer, path), slice(first, first + d)

    def _first(self, part: str, head: int) -> int:
        d, share = self.d_head, self.heads // self.kv_heads
        match self.parts.fused:
            case "joined":  # q of all heads, k of all, v of all
                before = {"q": 0, "k": self.heads, "v": self.heads + self.kv_heads}
                return (before[part] + head) * d
            case "by head":  # q, k, v of head 0, q, k, v of head 1, ...
                return (3 * head + "qkv".index(part)) * d
            case "by group":  # q of a group's heads, its k, its v, then the next group
                if part == "q":
                    return (head // share * (share + 2) + head % share) * d
                return (head * (share + 2) + share + "kv".index(part)) * d
            case "four":  # heads in four parts; q, v, k of each
                size = self.heads // 4
                return (head // size * 3 * size + "qvk".index(part) * size + head % size) * d
        raise AssertionError(self.parts.fused)

    def norms(self) -> list[Any]:
        """Every norm, those of queries and keys and the last one too."""
        return [
            part
            for part in self.module.modules()
            if "Norm" in type(part).__name__ and not list(part.children())
        ]


def _key_value_heads(config: Any) -> int:
    if config.model_type in ("falcon", "gpt_bigcode"):
        if getattr(config, "new_decoder_architecture", False):
            return int(config.num_kv_heads)
        return 1 if config.multi_query else int(config.num_attention_heads)
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
