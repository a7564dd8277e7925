"""The model's own matrices, each as (inputs, outputs) whatever the checkpoint's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from causaldsl.vocabulary.base import Pure
from causaldsl.vocabulary.sites import Index
from causaldsl.vocabulary.types import MatrixType


@dataclass(frozen=True)
class MatrixWord:
    """A matrix's name, its index, and the dimensions that it maps from and to."""

    word: str
    index: Index
    inputs: str
    outputs: str
    doc: str


_ALL = (
    MatrixWord("W_in", "layer", "d_model", "d_mlp", "Into the MLP (the up-projection if gated)."),
    MatrixWord("W_gate", "layer", "d_model", "d_mlp", "Into the gate of a gated MLP."),
    MatrixWord("W_out", "layer", "d_mlp", "d_model", "Out of the MLP."),
    MatrixWord("W_Q", "head", "d_model", "d_head", "A head's query weights."),
    MatrixWord("W_K", "kv_head", "d_model", "d_head", "A key head's weights."),
    MatrixWord("W_V", "kv_head", "d_model", "d_head", "A value head's weights."),
    MatrixWord("W_O", "head", "d_head", "d_model", "A head's output weights."),
    MatrixWord("W_E", "none", "d_vocab", "d_embed", "Token embedding."),
    MatrixWord("W_U", "none", "d_embed", "d_vocab", "Unembedding, before any scale or cap."),
)

MATRIX_WORDS = {matrix.word: matrix for matrix in _ALL}


class Matrix(Pure):
    """One of the model's matrices."""

    word = "matrix"
    name: str
    layer: int | None = None
    head: int | None = None
    inputs: int
    outputs: int

    def result(self, types: Mapping[str, Any]) -> MatrixType:
        return MatrixType(self.inputs, self.outputs)
