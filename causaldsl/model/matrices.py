"""Which matrices a model has, their sizes, and where they are kept."""

from __future__ import annotations

from causaldsl.diagnostics import Mistake
from causaldsl.model.families.forms import Stored
from causaldsl.model.shapes import ModelDims
from causaldsl.vocabulary.matrices import MATRIX_WORDS

_PARTS = {"W_Q": "q", "W_K": "k", "W_V": "v", "W_O": "out"}
_MLP_PARTS = {"W_in": "up", "W_gate": "gate", "W_out": "down"}


def stored(name: str, layer: int | None, shapes: ModelDims) -> Stored | None:
    """Where a matrix is kept; None if the model does not have it, or its family is unknown."""
    form = shapes.form
    if form is None:
        return None
    if layer is None:
        return {"W_E": form.embed, "W_U": form.unembed}.get(name)
    if not 0 <= layer < form.n_layers:
        return None
    block = form.blocks[layer]
    if name in _PARTS:
        found: Stored = getattr(block.attention, _PARTS[name])
        return found
    return getattr(block.mlp, _MLP_PARTS[name]) if name in _MLP_PARTS else None


def matrix_sizes(name: str, layer: int | None, shapes: ModelDims) -> tuple[int, int]:
    """Inputs and outputs of a matrix."""
    word = MATRIX_WORDS[name]
    mlp = None if layer is None else shapes.mlp(layer)
    own = {} if mlp is None else {"d_mlp": mlp.d_hidden}
    inputs, outputs = (own.get(d, getattr(shapes, d)) for d in (word.inputs, word.outputs))
    return inputs, outputs


def check_stored(name: str, layer: int | None, shapes: ModelDims) -> None:
    """Raise :class:`Mistake` if a model lacks a matrix, or we don't know where it is."""
    if not shapes.text:
        return
    if shapes.form is None:
        raise Mistake(
            "no-matrix",
            f"where {shapes.architecture} keeps its matrices is not known here",
            "`causaldsl models --families` lists the families that are known; direct patches need "
            "no matrix",
        )
    if stored(name, layer, shapes) is not None:
        return
    assert layer is not None
    if not shapes.has_neurons(layer):
        message = f"the MLP of layer {layer} of {shapes.name} is a mixture of experts, so no one"
        raise Mistake("no-matrix", f"{message} matrix is its {name}", "mlp_out has no matrix")
    raise Mistake("no-matrix", f"{shapes.name} has no gated MLP, so no {name}")
