"""A subspace at run time: vectors as they were made, and an orthonormal basis of their span.

The basis comes from the singular value decomposition V = U S R^T of the vectors (d, k); singular
values below ``max(d, k) * eps * largest`` count as zero, so the rank is numerical, and is reported.
If the rank is k, it is the orthonormal matrix closest to V, U R^T: that of orthonormal vectors is
themselves, whereas U alone may be turned by any rounding of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure


@dataclass(frozen=True, eq=False)
class SubspaceValue:
    """``vectors`` is (d, k) in float64, not necessarily orthonormal."""

    vectors: Tensor
    tolerance: float = 0.0
    """Lengths at or below this are rounding, not a direction."""

    def __post_init__(self) -> None:
        # As it lies when it comes back from the store: sums of it round by the order in memory.
        object.__setattr__(self, "vectors", self.vectors.contiguous())

    @cached_property
    def basis(self) -> Tensor:
        """Orthonormal columns (d, rank) that span the vectors."""
        if self.vectors.shape[1] == 1:
            length = self.vectors.norm()
            longer = bool(length > self.tolerance)
            return self.vectors / length if longer else self.vectors[:, :0]
        left, values, right = torch.linalg.svd(self.vectors, full_matrices=False)
        eps = torch.finfo(self.vectors.dtype).eps
        floor = max(self.vectors.shape) * eps * float(values.max()) if len(values) else 0.0
        keep = values > max(floor, self.tolerance)
        full = int(keep.sum()) == self.vectors.shape[1]
        return left @ right if full else left[:, keep]

    @property
    def rank(self) -> int:
        return self.basis.shape[1]

    @property
    def direction(self) -> Tensor:
        """The one unit vector (d,) of a one-dimensional subspace, with its sign."""
        if self.rank != 1:
            raise RunFailure(f"a direction is needed here; this subspace has rank {self.rank}")
        if self.vectors.shape[1] == 1:
            return self.vectors[:, 0] / self.vectors.norm()
        return self.basis[:, 0]


def unit_vectors(coordinates: Sequence[int], width: int) -> Tensor:
    """(width, c) in float64: a unit vector along each of some coordinates."""
    vectors = torch.zeros(width, len(coordinates), dtype=torch.float64)
    vectors[list(coordinates), range(len(coordinates))] = 1
    return vectors


def row_basis(matrix: Tensor) -> Tensor:
    """Orthonormal basis (inputs, rank) of what a matrix (inputs, outputs) does not send to 0.

    By singular value decomposition in float64. Values below ``max(shape) * eps * largest`` are
    zero, with eps of the precision that the weights were kept in: their rounding is not signal,
    also where a float32 checkpoint is run in float64.
    """
    single = torch.equal(matrix.float().double(), matrix.double())
    eps = torch.finfo(torch.float32 if single else matrix.dtype).eps
    left, values, _ = torch.linalg.svd(matrix.double(), full_matrices=False)
    return left[:, values > max(matrix.shape) * eps * values.max()]
