"""The model's own matrices, all as (inputs, outputs): x W, with x a row.

=============  ===================  =============================================================
``W_E``        (d_vocab, d_embed)   a token's embedding, before any scaling
``W_Q[l.h]``   (d_model, d_head)    a head's query; no norm and no bias is folded in
``W_K[l.h]``   (d_model, d_head)    a key-value head's key, by its own index
``W_V[l.h]``   (d_model, d_head)    a key-value head's value, by its own index
``W_O[l.h]``   (d_head, d_model)    what a head's z adds to the attention's output
``W_gate[l]``  (d_model, d_mlp)     the half of a gated MLP that passes through the nonlinearity
``W_in[l]``    (d_model, d_mlp)     the other half, or the whole of a plain MLP
``W_out[l]``   (d_mlp, d_model)     out of the MLP
``W_U``        (d_embed, d_vocab)   the unembedding, before any scale or soft cap
=============  ===================  =============================================================

They are read from the Hugging Face parameters, so building a bridge makes no difference to them.
Where a family keeps them is part of its description (``model/families``). d_embed is d_model, but
for models that project their embeddings (some OPT).
"""

from __future__ import annotations

from torch import Tensor

from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.engine.transfer import placed
from causaldsl.engine.weights.load import Loaded
from causaldsl.model.families.forms import Stored
from causaldsl.model.matrices import check_stored, matrix_sizes, stored
from causaldsl.model.shapes import ModelDims


def matrix(loaded: Loaded, name: str, layer: int | None = None, head: int | None = None) -> Tensor:
    """The matrix of this name, as (inputs, outputs), in the model's dtype and on its first
    device.

    Raises :class:`RunFailure` for an architecture whose parameters we don't know, and for a matrix
    that this model does not have.
    """
    if loaded.source is None:
        return _toy_matrix(loaded, name)
    shapes = loaded.spec.shapes
    written = name if layer is None else f"{name}[{layer}{'' if head is None else f'.{head}'}]"
    place = stored(name, layer, shapes)
    weight = None if place is None else _weight(loaded, place)
    if place is None or weight is None:
        _check(name, layer, shapes)
        raise RunFailure(f"{shapes.name} has no {written}")
    found = _part(weight if place.inputs_first else weight.T, name, place, shapes, head or 0)
    expected = matrix_sizes(name, layer, shapes)
    if tuple(found.shape) != expected:
        raise RunFailure(f"{written} of {shapes.name} is {tuple(found.shape)}, not {expected}")
    return placed(found, loaded.device)


def bias(loaded: Loaded, name: str, layer: int) -> Tensor | None:
    """What is added behind an MLP's matrix, (outputs,); None if the model adds nothing."""
    shapes = loaded.spec.shapes
    place = stored(name, layer, shapes)
    assert place is not None
    found = loaded.weights.get(place.bias)
    return None if found is None else placed(_half(found, place), loaded.device)


def _check(name: str, layer: int | None, shapes: ModelDims) -> None:
    if layer is None or 0 <= layer < shapes.n_layers:
        try:
            check_stored(name, layer, shapes)
        except Mistake as mistake:
            raise RunFailure(mistake.message, mistake.help) from None


def _weight(loaded: Loaded, place: Stored) -> Tensor | None:
    """A parameter by its name; tied ones have two, and only one need be in a file."""
    found = loaded.weights.get(place.weight)
    form = loaded.spec.shapes.form
    if found is None and form is not None and form.tied and place == form.unembed:
        found = loaded.weights.get(form.embed.weight)
    return found


def _part(whole: Tensor, name: str, place: Stored, shapes: ModelDims, head: int) -> Tensor:
    """The share of a head, or of gate or up, of a weight (inputs, outputs)."""
    d_head = shapes.d_head
    if name == "W_O":
        return whole[head * d_head : (head + 1) * d_head]
    if place.part in ("q", "k", "v"):
        first = place.first_row(head, shapes.n_heads, shapes.n_kv_heads, d_head)
        return whole[:, first : first + d_head]
    return _half(whole, place)


def _half(x: Tensor, place: Stored) -> Tensor:
    """The gate or the other half (..., d_mlp) of what a fused matrix gives; else all of it."""
    if place.order != "joined":
        return x
    return x.chunk(2, dim=-1)[place.part == "up"]


def _toy_matrix(loaded: Loaded, name: str) -> Tensor:
    matrices: dict[str, Tensor] = {"W_in": loaded.bridge.W_in, "W_out": loaded.bridge.W_out}
    if name not in matrices:
        raise RunFailure(f"{loaded.spec.name} has no {name}", "it has W_in[0] and W_out[0]")
    return matrices[name]
