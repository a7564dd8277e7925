"""Reading a decoder's weights by the names that each Hugging Face family gives them.

Knowing a family's names is no proof of having understood its forward pass: the backend compares
logits with the module's own before it serves anything (``backend.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from torch import Tensor, nn

from causaldsl.engine.cone.weights import (
    MLP,
    Attention,
    Block,
    Decoder,
    LayerNorm,
    Linear,
    RMSNorm,
    Rotary,
    UpcastNorm,
)
from causaldsl.engine.upcast import upcast, upcast_dtype
from causaldsl.engine.weights.checkpoint import Checkpoint
from causaldsl.engine.weights.nonlinearities import activation


class Unsupported(Exception):
    """Why the cone backend can't serve a model; the caller falls back to hooks and says so."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def read_decoder(source: nn.Module | Checkpoint) -> Decoder:
    """The weights of a Hugging Face causal language model. Raises :class:`Unsupported`."""
    family = str(getattr(getattr(source, "config", None), "model_type", type(source).__name__))
    reader = _READERS.get(family)
    if reader is None:
        raise Unsupported(f"its forward pass is not written for the {family} architecture")
    try:
        return _upcast_end(reader(_parts(source)))
    except (KeyError, AttributeError) as missing:
        raise Unsupported(f"this {family} model has no {missing}") from missing


def _upcast_end(decoder: Decoder) -> Decoder:
    """In half precision, with copies of the last norm and the unembedding in float32."""
    if upcast_dtype(decoder.embed.dtype) == decoder.embed.dtype:
        return decoder
    norm, head = decoder.norm, decoder.unembed
    assert not isinstance(norm, UpcastNorm)
    return replace(
        decoder,
        norm=UpcastNorm(replace(norm, **_in_single(norm))),
        unembed=replace(head, **_in_single(head)),
    )


def _in_single(part: Any) -> dict[str, Any]:
    """The tensors of a layer's weights, by their field, in float32."""
    found = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: upcast(value) for name, value in found.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class _Parts:
    """Tensors by their Hugging Face names, and how the module uses them.

    ``scaling`` is what an attention module multiplies q k^T by.
    """

    config: Any
    tensors: Mapping[str, Tensor]
    scaling: Callable[[str], float]
    rotation: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def linear(self, name: str) -> Linear:
        return Linear(self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def conv1d(self, name: str) -> Linear:
        """GPT-2 stores (inputs, outputs)."""
        return Linear(self.tensors[f"{name}.weight"].T, self.tensors.get(f"{name}.bias"))

    def layer_norm(self, name: str, eps: float) -> LayerNorm:
        return LayerNorm(self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"), eps)

    def rms_norm(self, name: str, eps: float) -> RMSNorm:
        return RMSNorm(self.tensors[f"{name}.weight"], eps)


def _parts(source: nn.Module | Checkpoint) -> _Parts:
    """The parts of a module or checkpoint.

    A ``TransformerBridge`` that was booted from the module has wrapped its parts, which puts
    ``_original_component`` into their names.
    """
    if isinstance(source, Checkpoint):
        scalings = source.module.scaling
        return _Parts(source.config, source.tensors, scalings.__getitem__, source.rotation())
    # The innermost of two with the same plain name comes last, and is the original.
    modules = {_plain(name): part for name, part in source.named_modules()}
    tensors = {
        _plain(name): tensor.detach()
        for name, tensor in source.named_parameters(remove_duplicate=False)
    }

    def scaling(attention: str) -> float:
        return float(cast(Any, modules[attention]).scaling)

    return _Parts(source.config, tensors, scaling, modules.get("model.rotary_emb"))


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_original_component")


def _llama_like(parts: _Parts) -> Decoder:
    config = parts.config
    n_heads = config.num_attention_heads
    return Decoder(
        embed=parts.tensor("model.embed_tokens.weight"),
        positions=None,
        rotary=Rotary(_rotation(parts)),
        blocks=tuple(_llama_block(parts, layer) for layer in range(config.num_hidden_layers)),
        norm=parts.rms_norm("model.norm", config.rms_norm_eps),
        unembed=parts.linear("lm_head"),
        n_heads=n_heads,
        n_kv_heads=config.num_key_value_heads or n_heads,
        d_head=getattr(config, "head_dim", None) or config.hidden_size // n_heads,
        window=getattr(config, "sliding_window", None),
    )


def _rotation(parts: _Parts) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    rope = getattr(parts.config, "rope_parameters", None) or {}
    kind = rope.get("rope_type") or rope.get("type", "default")
    if kind in ("dynamic", "longrope"):
        raise Unsupported(f"its rotary embedding ({kind}) depends on the prompt's length")
    if parts.rotation is None:
        raise KeyError("model.rotary_emb")
    return parts.rotation


def _llama_block(parts: _Parts, layer: int) -> Block:
    config, block = parts.config, f"model.layers.{layer}"
    attention, mlp, eps = f"{block}.self_attn", f"{block}.mlp", config.rms_norm_eps
    normed_heads = f"{attention}.q_norm.weight" in parts.tensors
    return Block(
        norm1=parts.rms_norm(f"{block}.input_layernorm", eps),
        attention=Attention(
            q=parts.linear(f"{attention}.q_proj"),
            k=parts.linear(f"{attention}.k_proj"),
            v=parts.linear(f"{attention}.v_proj"),
            out=parts.linear(f"{attention}.o_proj"),
            scale=parts.scaling(attention),
            q_norm=parts.rms_norm(f"{attention}.q_norm", eps) if normed_heads else None,
            k_norm=parts.rms_norm(f"{attention}.k_norm", eps) if normed_heads else None,
        ),
        norm2=parts.rms_norm(f"{block}.post_attention_layernorm", eps),
        mlp=MLP(
            up=parts.linear(f"{mlp}.up_proj"),
            down=parts.linear(f"{mlp}.down_proj"),
            act=activation(config.hidden_act),
            gate=parts.linear(f"{mlp}.gate_proj"),
        ),
    )


def _gpt2(parts: _Parts) -> Decoder:
    config = parts.config
    if config.add_cross_attention:
        raise Unsupported("it attends to an encoder")
    return Decoder(
        embed=parts.tensor("transformer.wte.weight"),
        positions=parts.tensor("transformer.wpe.weight"),
        rotary=None,
        blocks=tuple(_gpt2_block(parts, layer) for layer in range(config.n_layer)),
        norm=parts.layer_norm("transformer.ln_f", config.layer_norm_epsilon),
        unembed=parts.linear("lm_head"),
        n_heads=config.n_head,
        n_kv_heads=config.n_head,
        d_head=config.n_embd // config.n_head,
    )


def _gpt2_block(parts: _Parts, layer: int) -> Block:
    config, block = parts.config, f"transformer.h.{layer}"
    joint = parts.conv1d(f"{block}.attn.c_attn")
    biases = (None, None, None) if joint.bias is None else joint.bias.chunk(3)
    q, k, v = (Linear(w, b) for w, b in zip(joint.weight.chunk(3), biases, strict=True))
    return Block(
        norm1=parts.layer_norm(f"{block}.ln_1", config.layer_norm_epsilon),
        attention=Attention(
            q=q,
            k=k,
            v=v,
            out=parts.conv1d(f"{block}.attn.c_proj"),
            scale=parts.scaling(f"{block}.attn"),
        ),
        norm2=parts.layer_norm(f"{block}.ln_2", config.layer_norm_epsilon),
        mlp=MLP(
            up=parts.conv1d(f"{block}.mlp.c_fc"),
            down=parts.conv1d(f"{block}.mlp.c_proj"),
            act=activation(config.activation_function),
        ),
    )


_READERS: dict[str, Callable[[_Parts], Decoder]] = {
    "llama": _llama_like,
    "mistral": _llama_like,
    "qwen2": _llama_like,
    "qwen3": _llama_like,
    "gpt2": _gpt2,
}
