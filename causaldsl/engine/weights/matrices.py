"""The model's own matrices, all as (inputs, outputs): x W, with x a row.

=============  ===================  =============================================================
``W_E``        (d_vocab, d_model)   a token's embedding, before any scaling
``W_Q[l.h]``   (d_model, d_head)    a head's query; no norm and no bias is folded in
``W_K[l.h]``   (d_model, d_head)    a key-value head's key, by its own index
``W_V[l.h]``   (d_model, d_head)    a key-value head's value, by its own index
``W_O[l.h]``   (d_head, d_model)    what a head's z adds to the residual stream
``W_gate[l]``  (d_model, d_mlp)     the half of a gated MLP that passes through the nonlinearity
``W_in[l]``    (d_model, d_mlp)     the other half, or the whole of a plain MLP
``W_out[l]``   (d_mlp, d_model)     out of the MLP
``W_U``        (d_model, d_vocab)   the unembedding
=============  ===================  =============================================================

They are read from the Hugging Face parameters, so building a bridge makes no difference to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.weights.load import Loaded
from causaldsl.model.shapes import ModelDims

Pick = Callable[[Tensor, ModelDims, int], Tensor]
"""Takes a whole weight (inputs, outputs) and a head's index; gives the part that is wanted."""


def matrix(loaded: Loaded, name: str, layer: int | None = None, head: int | None = None) -> Tensor:
    """The matrix of this name, as (inputs, outputs), in the model's dtype and on its device.

    Raises :class:`RunFailure` for an architecture whose parameters we don't know, and for a matrix
    that this model does not have.
    """
    if loaded.source is None:
        return _toy_matrix(loaded, name)
    family = str(loaded.config.model_type)
    if family not in _FAMILIES:
        raise RunFailure(
            f"where {loaded.spec.shapes.architecture} keeps its matrices is not known here",
            f"known are {', '.join(sorted(_FAMILIES))}; direct patches need no matrix",
        )
    shapes = loaded.spec.shapes
    found = _find(loaded, _FAMILIES[family], name, layer, head or 0)
    written = name if layer is None else f"{name}[{layer}{'' if head is None else f'.{head}'}]"
    if found is None:
        raise RunFailure(f"{shapes.name} has no {written}")
    expected = _expected(shapes, name)
    if tuple(found.shape) != expected:
        raise RunFailure(f"{written} of {shapes.name} is {tuple(found.shape)}, not {expected}")
    return found


def bias(loaded: Loaded, name: str, layer: int | None) -> Tensor | None:
    """What is added behind an MLP's matrix, (outputs,); None if the model adds nothing."""
    place = _FAMILIES[str(loaded.config.model_type)][name]
    parameter = place.parameter.format(l=layer).removesuffix("weight") + "bias"
    return loaded.weights.get(parameter)


def _find(
    loaded: Loaded, places: dict[str, _Place], name: str, layer: int | None, head: int
) -> Tensor | None:
    if name == "W_E":
        return _named(loaded, "get_input_embeddings", "model.embed_tokens", "transformer.wte")
    if name == "W_U":
        return _named(loaded, "get_output_embeddings", "lm_head").T
    place = places.get(name)
    if place is None:
        return None
    weight = loaded.weights.get(place.parameter.format(l=layer))
    if weight is None:
        return None
    return place.pick(weight.T if place.transposed else weight, loaded.spec.shapes, head)


def _named(loaded: Loaded, method: str, *names: str) -> Tensor:
    """A weight by its name in families that are read without the module, else by its method."""
    for name in names:
        if (found := loaded.weights.get(f"{name}.weight")) is not None:
            return found
    weight: Tensor = getattr(loaded.hf, method)().weight
    return weight


def _toy_matrix(loaded: Loaded, name: str) -> Tensor:
    matrices: dict[str, Tensor] = {"W_in": loaded.bridge.W_in, "W_out": loaded.bridge.W_out}
    if name not in matrices:
        raise RunFailure(f"{loaded.spec.name} has no {name}", "it has W_in[0] and W_out[0]")
    return matrices[name]


def _expected(shapes: ModelDims, name: str) -> tuple[int, int]:
    d_model = shapes.d_model
    return {
        "W_E": (shapes.d_vocab, d_model),
        "W_U": (d_model, shapes.d_vocab),
        "W_O": (shapes.d_head, d_model),
        "W_out": (shapes.d_mlp, d_model),
        "W_in": (d_model, shapes.d_mlp),
        "W_gate": (d_model, shapes.d_mlp),
    }.get(name, (d_model, shapes.d_head))


def _whole(weight: Tensor, shapes: ModelDims, head: int) -> Tensor:
    return weight


def _columns(weight: Tensor, shapes: ModelDims, head: int) -> Tensor:
    """A head's share of the outputs, where only q, only k or only v is stored."""
    return weight[:, head * shapes.d_head : (head + 1) * shapes.d_head]


def _rows(weight: Tensor, shapes: ModelDims, head: int) -> Tensor:
    """A head's share of the inputs."""
    return weight[head * shapes.d_head : (head + 1) * shapes.d_head]


def _fused(part: int) -> Pick:
    """All of q, then all of k, then all of v: part 0, 1 or 2."""

    def pick(weight: Tensor, shapes: ModelDims, head: int) -> Tensor:
        before = (0, shapes.n_heads, shapes.n_heads + shapes.n_kv_heads)[part]
        return _columns(weight, shapes, before + head)

    return pick


def _interleaved(part: int) -> Pick:
    """q, k and v of the first head, then of the second."""
    return lambda weight, shapes, head: _columns(weight, shapes, 3 * head + part)


def _half(part: int) -> Pick:
    """The gate (0) or the other half (1) of a fused gated MLP."""
    return lambda weight, shapes, head: weight[:, part * shapes.d_mlp : (part + 1) * shapes.d_mlp]


@dataclass(frozen=True)
class _Place:
    """The parameter, with ``{l}`` for the layer; whether it is stored transposed; which part."""

    parameter: str
    pick: Pick = _whole
    transposed: bool = True


def _block(prefix: str, places: dict[str, _Place]) -> dict[str, _Place]:
    return {
        name: _Place(prefix + place.parameter, place.pick, place.transposed)
        for name, place in places.items()
    }


_SEPARATE = {
    "W_Q": _Place("self_attn.q_proj.weight", _columns),
    "W_K": _Place("self_attn.k_proj.weight", _columns),
    "W_V": _Place("self_attn.v_proj.weight", _columns),
}
_LLAMA = _block(
    "model.layers.{l}.",
    _SEPARATE
    | {
        "W_O": _Place("self_attn.o_proj.weight", _rows),
        "W_gate": _Place("mlp.gate_proj.weight"),
        "W_in": _Place("mlp.up_proj.weight"),
        "W_out": _Place("mlp.down_proj.weight"),
    },
)
_PHI = _block(
    "model.layers.{l}.",
    _SEPARATE
    | {
        "W_O": _Place("self_attn.dense.weight", _rows),
        "W_in": _Place("mlp.fc1.weight"),
        "W_out": _Place("mlp.fc2.weight"),
    },
)
_PHI3 = _block(
    "model.layers.{l}.",
    {
        "W_Q": _Place("self_attn.qkv_proj.weight", _fused(0)),
        "W_K": _Place("self_attn.qkv_proj.weight", _fused(1)),
        "W_V": _Place("self_attn.qkv_proj.weight", _fused(2)),
        "W_O": _Place("self_attn.o_proj.weight", _rows),
        "W_gate": _Place("mlp.gate_up_proj.weight", _half(0)),
        "W_in": _Place("mlp.gate_up_proj.weight", _half(1)),
        "W_out": _Place("mlp.down_proj.weight"),
    },
)
_GPT2 = _block(  # its Conv1D stores (inputs, outputs)
    "transformer.h.{l}.",
    {
        "W_Q": _Place("attn.c_attn.weight", _fused(0), transposed=False),
        "W_K": _Place("attn.c_attn.weight", _fused(1), transposed=False),
        "W_V": _Place("attn.c_attn.weight", _fused(2), transposed=False),
        "W_O": _Place("attn.c_proj.weight", _rows, transposed=False),
        "W_in": _Place("mlp.c_fc.weight", transposed=False),
        "W_out": _Place("mlp.c_proj.weight", transposed=False),
    },
)
_NEOX = _block(
    "gpt_neox.layers.{l}.",
    {
        "W_Q": _Place("attention.query_key_value.weight", _interleaved(0)),
        "W_K": _Place("attention.query_key_value.weight", _interleaved(1)),
        "W_V": _Place("attention.query_key_value.weight", _interleaved(2)),
        "W_O": _Place("attention.dense.weight", _rows),
        "W_in": _Place("mlp.dense_h_to_4h.weight"),
        "W_out": _Place("mlp.dense_4h_to_h.weight"),
    },
)
_LIKE_LLAMA = (
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo", "olmo2",
    "olmo3", "smollm3", "stablelm",
)  # fmt: skip
_FAMILIES = {
    **dict.fromkeys(_LIKE_LLAMA, _LLAMA),
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "phi": _PHI,
    "phi3": _PHI3,
}
