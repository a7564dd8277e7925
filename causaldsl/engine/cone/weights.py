"""A pre-norm decoder's weights, read from a Hugging Face module without copying them.

For one block, with x the residual stream (rows are positions)::

    m = x + A(norm1(x)),   y = m + W_down h,   h = act(W_gate norm2(m)) * (W_up norm2(m))

or h = act(W_up norm2(m)) for a plain MLP. Matrices are stored (outputs, inputs), as
``torch.nn.functional.linear`` wants them. The tensors are the module's own, detached.

Knowing a family's names is no proof of having understood its forward pass: the backend compares
logits with the module's own before it serves anything (``backend.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causaldsl.engine.cone.packing import Packed, Packing
from causaldsl.engine.exact import exact
from causaldsl.engine.wide import wide, wide_dtype


class Unsupported(Exception):
    """Why the cone backend can't serve a model; the caller falls back to hooks and says so."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(eq=False)
class Linear:
    """x W^T + b. ``packing`` is set while training multiplies by the same matrix many times."""

    weight: Tensor
    bias: Tensor | None = None
    packing: Packing | None = None
    _packed: Packed | None = None

    def __call__(self, x: Tensor) -> Tensor:
        packed = self._packed_for(x)
        return F.linear(x, self.weight, self.bias) if packed is None else packed(x)

    def forward(self, x: Tensor) -> Tensor:
        """The same where no gradient is wanted."""
        packed = self._packed_for(x)
        return F.linear(x, self.weight, self.bias) if packed is None else packed.linear(x)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient W of x, for that of the output."""
        packed = self._packed_for(gradient)
        return gradient @ self.weight if packed is None else packed.back(gradient)

    def pack(self, packing: Packing | None) -> None:
        """From now on rearrange the matrix where it helps; with None, no longer."""
        self.packing, self._packed = packing, None

    def _packed_for(self, x: Tensor) -> Packed | None:
        if self.packing is None:
            return None
        rows = x.numel() // x.shape[-1]
        if self._packed is None and self.packing.room_for(self.weight):
            self._packed = Packed(self.weight, self.bias, rows)
        return self._packed if self._packed is not None and self._packed.rows == rows else None


@dataclass(frozen=True)
class LayerNorm:
    weight: Tensor
    bias: Tensor | None
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def scale(self, x: Tensor) -> Tensor:
        """What the centred input is multiplied by, (..., 1)."""
        return torch.rsqrt(x.var(-1, correction=0, keepdim=True) + self.eps)

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        """The norm with another input's scale: linear in x up to the bias."""
        out = (x - x.mean(-1, keepdim=True)) * scale * self.weight
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True)
class RMSNorm:
    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad and x.dtype in (torch.float32, torch.float64):
            normed: Tensor = _RMS.apply(x, self)
            return normed
        return self.scaled(x, self.scale(x))

    def scale(self, x: Tensor) -> Tensor:
        """What the input is multiplied by, (..., 1)."""
        # Half precision overflows in the square.
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        return torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        """The norm with another input's scale: linear in x."""
        return self.weight * (x.to(scale.dtype) * scale).to(x.dtype)


class _RMS(torch.autograd.Function):
    """y = w x s with s = 1 / sqrt(mean(x^2) + eps); dL/dx = s (g - x s^2 mean(g x)), g = w dL/dy.

    A training step takes dozens of norms: written out they are a third of the operations.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: RMSNorm) -> Tensor:
        scale = norm.scale(x)
        ctx.save_for_backward(x, scale)
        ctx.weight = norm.weight
        return (x * scale).mul_(norm.weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, scale = ctx.saved_tensors
        inner = gradient * ctx.weight
        mean = (inner * x).mean(-1, keepdim=True) * scale.square()
        return torch.addcmul(inner, x, mean, value=-1).mul_(scale), None


@dataclass(frozen=True)
class WideNorm:
    """A norm in float32, of a stream in half precision."""

    norm: LayerNorm | RMSNorm

    def __call__(self, x: Tensor) -> Tensor:
        return self.norm(x.float())

    def scale(self, x: Tensor) -> Tensor:
        return self.norm.scale(x.float())

    def scaled(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.norm.scaled(x.float(), scale.float())


Norm = LayerNorm | RMSNorm | WideNorm


@dataclass(frozen=True)
class Attention:
    """``scale`` multiplies q k^T; ``q_norm`` and ``k_norm`` act on each head, before rotation."""

    q: Linear
    k: Linear
    v: Linear
    out: Linear
    scale: float
    q_norm: Norm | None = None
    k_norm: Norm | None = None


@dataclass(frozen=True)
class MLP:
    """``gate`` is None for a plain MLP."""

    up: Linear
    down: Linear
    act: Callable[[Tensor], Tensor]
    gate: Linear | None = None

    def hidden(self, x: Tensor) -> Tensor:
        """The neurons after the nonlinearity."""
        if self.gate is None:
            return self.act(self.up(x))
        return self.act(self.gate(x)) * self.up(x)


@dataclass(frozen=True)
class Block:
    norm1: Norm
    attention: Attention
    norm2: Norm
    mlp: MLP


class Rotary:
    """Cosines and sines (T, d_head) of a rotary embedding, kept for the longest prompt so far.

    The sign of the first half's sine is kept with it.
    """

    def __init__(self, module: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]):
        self._module = module
        self._tables: tuple[Tensor, Tensor] | None = None

    def __call__(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        if self._tables is None or len(self._tables[0]) < length:
            with torch.no_grad(), exact(like.dtype):
                ids = torch.arange(length, device=like.device)
                cos, sin = (table[0] for table in self._module(like[None], ids[None]))
            first, second = sin.chunk(2, dim=-1)
            self._tables = cos, torch.cat((-first, second), dim=-1)
        return self._tables


@dataclass(frozen=True)
class Decoder:
    """Everything the forward pass needs.

    ``positions`` (n_ctx, d) are learned position embeddings; a model has these or ``rotary``. No
    position attends further
    back than ``window`` tokens, if that is set.
    """

    embed: Tensor
    positions: Tensor | None
    rotary: Rotary | None
    blocks: tuple[Block, ...]
    norm: Norm
    unembed: Linear
    n_heads: int
    n_kv_heads: int
    d_head: int
    window: int | None = None

    def linears(self, first: int = 0) -> Iterator[Linear]:
        """Every linear map from a block on, the unembedding last."""
        for block in self.blocks[max(first, 0) :]:
            attention, mlp = block.attention, block.mlp
            yield from (attention.q, attention.k, attention.v, attention.out)
            yield from (mlp.up, mlp.down) if mlp.gate is None else (mlp.gate, mlp.up, mlp.down)
        yield self.unembed


def read_decoder(module: nn.Module) -> Decoder:
    """The weights of a Hugging Face causal language model. Raises :class:`Unsupported`."""
    family = str(getattr(getattr(module, "config", None), "model_type", type(module).__name__))
    reader = _READERS.get(family)
    if reader is None:
        raise Unsupported(f"its forward pass is not written for the {family} architecture")
    try:
        return _wide_end(reader(_Parts(module)))
    except (KeyError, AttributeError) as missing:
        raise Unsupported(f"this {family} model has no {missing}") from missing


def _wide_end(decoder: Decoder) -> Decoder:
    """In half precision, with copies of the last norm and the unembedding in float32."""
    if wide_dtype(decoder.embed.dtype) == decoder.embed.dtype:
        return decoder
    norm, head = decoder.norm, decoder.unembed
    assert not isinstance(norm, WideNorm)
    return replace(
        decoder,
        norm=WideNorm(replace(norm, **_in_single(norm))),
        unembed=replace(head, **_in_single(head)),
    )


def _in_single(part: Any) -> dict[str, Any]:
    """The tensors of a layer's weights, by their field, in float32."""
    found = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: wide(value) for name, value in found.items() if isinstance(value, Tensor)}


class _Parts:
    """Parameters and submodules by their Hugging Face names.

    A ``TransformerBridge`` booted from the module has wrapped its parts by then, which puts
    ``_original_component`` into the names.
    """

    def __init__(self, module: nn.Module):
        self.config = cast(Any, module.config)
        # The innermost of two with the same plain name comes last, and is the original.
        self.modules = {_plain(name): part for name, part in module.named_modules()}
        self._tensors = {
            _plain(name): tensor.detach()
            for name, tensor in module.named_parameters(remove_duplicate=False)
        }

    def tensor(self, name: str) -> Tensor:
        return self._tensors[name]

    def linear(self, name: str) -> Linear:
        return Linear(self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias"))

    def conv1d(self, name: str) -> Linear:
        """GPT-2 stores (inputs, outputs)."""
        return Linear(self._tensors[f"{name}.weight"].T, self._tensors.get(f"{name}.bias"))

    def layer_norm(self, name: str, eps: float) -> LayerNorm:
        return LayerNorm(self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias"), eps)

    def rms_norm(self, name: str, eps: float) -> RMSNorm:
        return RMSNorm(self._tensors[f"{name}.weight"], eps)


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "_original_component")


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name in ("silu", "swish"):
        return F.silu
    from transformers.activations import ACT2FN

    return cast(Callable[[Tensor], Tensor], ACT2FN[name])


def _llama_like(parts: _Parts) -> Decoder:
    config = parts.config
    n_heads = config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind in ("dynamic", "longrope"):
        raise Unsupported(f"its rotary embedding ({kind}) depends on the prompt's length")
    return Decoder(
        embed=parts.tensor("model.embed_tokens.weight"),
        positions=None,
        rotary=Rotary(parts.modules["model.rotary_emb"]),
        blocks=tuple(_llama_block(parts, layer) for layer in range(config.num_hidden_layers)),
        norm=parts.rms_norm("model.norm", config.rms_norm_eps),
        unembed=parts.linear("lm_head"),
        n_heads=n_heads,
        n_kv_heads=config.num_key_value_heads or n_heads,
        d_head=getattr(config, "head_dim", None) or config.hidden_size // n_heads,
        window=getattr(config, "sliding_window", None),
    )


def _llama_block(parts: _Parts, layer: int) -> Block:
    config, block = parts.config, f"model.layers.{layer}"
    attention, mlp, eps = f"{block}.self_attn", f"{block}.mlp", config.rms_norm_eps
    normed_heads = f"{attention}.q_norm" in parts.modules
    return Block(
        norm1=parts.rms_norm(f"{block}.input_layernorm", eps),
        attention=Attention(
            q=parts.linear(f"{attention}.q_proj"),
            k=parts.linear(f"{attention}.k_proj"),
            v=parts.linear(f"{attention}.v_proj"),
            out=parts.linear(f"{attention}.o_proj"),
            scale=float(cast(Any, parts.modules[attention]).scaling),
            q_norm=parts.rms_norm(f"{attention}.q_norm", eps) if normed_heads else None,
            k_norm=parts.rms_norm(f"{attention}.k_norm", eps) if normed_heads else None,
        ),
        norm2=parts.rms_norm(f"{block}.post_attention_layernorm", eps),
        mlp=MLP(
            up=parts.linear(f"{mlp}.up_proj"),
            down=parts.linear(f"{mlp}.down_proj"),
            act=_activation(config.hidden_act),
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
            scale=float(cast(Any, parts.modules[f"{block}.attn"]).scaling),
        ),
        norm2=parts.layer_norm(f"{block}.ln_2", config.layer_norm_epsilon),
        mlp=MLP(
            up=parts.conv1d(f"{block}.mlp.c_fc"),
            down=parts.conv1d(f"{block}.mlp.c_proj"),
            act=_activation(config.activation_function),
        ),
    )


_READERS: dict[str, Callable[[_Parts], Decoder]] = {
    "llama": _llama_like,
    "mistral": _llama_like,
    "qwen2": _llama_like,
    "qwen3": _llama_like,
    "gpt2": _gpt2,
}
