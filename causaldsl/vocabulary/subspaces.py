"""Words that give a subspace: drawn, listed, read from a file, or made from other subspaces.

A subspace is kept as vectors, which need not be orthonormal; an orthonormal basis of their span is
taken when it is patched. ``norm`` sees the vectors as they are. Those that are learned from data
are in ``learned.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from causaldsl.vocabulary.base import Operand, OperandMistake, Pure
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import MatrixType, SubspaceType
from causaldsl.vocabulary.widths import check_fits, check_neurons, site_width

_SITE = Operand("site", "site")


@function
class Random(Pure):
    """A uniformly random subspace of a site: the baseline that any direction should beat."""

    word = "random"
    operands = (_SITE,)
    dim: int = Field(1, ge=1)
    seed: int = Field(0, ge=0, lt=2**31)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = site_width(types)
        check_fits("site", self.dim, width, "a subspace")
        return SubspaceType(width, self.dim)


@function
class Neurons(Pure):
    """The coordinates of a site with these indices, counted from 0."""

    word = "neurons"
    operands = (_SITE, Operand("indices", "integers"))
    computed = ("indices",)
    indices: tuple[int, ...] = ()

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = site_width(types)
        check_neurons("indices", self.indices, width)
        return SubspaceType(width, len(self.indices))


@function
class Vector(Pure):
    """The direction with these coordinates at a site."""

    word = "vector"
    operands = (_SITE, Operand("coordinates", "coordinates"))
    computed = ("coordinates",)
    coordinates: tuple[float, ...] = ()

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = site_width(types)
        if len(self.coordinates) != width:
            raise OperandMistake(
                "coordinates",
                "width-mismatch",
                f"this lists {len(self.coordinates)} coordinates, but the site has {width}",
            )
        if not any(self.coordinates):
            raise OperandMistake("coordinates", "zero-vector", "a zero vector has no direction")
        return SubspaceType(width, 1)


@function
class File(Pure):
    """Directions from a safetensors file: the tensor `basis` (width, rank), or the only tensor."""

    word = "file"
    example = '"file.safetensors"'
    operands = (Operand("path", "path"),)
    computed = ("path", "digest", "width", "rank")
    path: str = ""
    digest: str = ""
    width: int = 0
    rank: int = 0

    def identity(self) -> dict[str, Any]:
        """What is in the file, not where it lies."""
        return {"digest": self.digest}

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(self.width, self.rank)


@function
class Span(Pure):
    """The smallest subspace that holds all of these."""

    word = "span"
    same_space = True
    operands = (Operand("parts", "subspaces"),)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        parts: tuple[SubspaceType, ...] = types["parts"]
        for part in parts[1:]:
            _same_width({"parts": part, "first": parts[0]}, "first", "parts")
        return SubspaceType(parts[0].width, None if len(parts) > 1 else parts[0].rank)


@function
class Complement(Pure):
    """Everything at right angles to a subspace."""

    word = "complement"
    same_space = True
    operands = (Operand("of", "subspace"),)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        of: SubspaceType = types["of"]
        return SubspaceType(of.width, None if of.rank is None else of.width - of.rank)


@function
class Row(Pure):
    """The component of a subspace that a matrix can see: what is left without `null`."""

    word = "row"
    same_space = True
    operands = (Operand("matrix", "matrix"), Operand("of", "subspace"))

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(_matrix_input(types, "of").inputs, None)


@function
class Null(Pure):
    """The component of a subspace that a matrix sends to 0."""

    word = "null"
    same_space = True
    operands = (Operand("matrix", "matrix"), Operand("of", "subspace"))

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(_matrix_input(types, "of").inputs, None)


@function
class Project(Pure):
    """The orthogonal projection of one subspace onto another."""

    word = "project"
    same_space = True
    operands = (Operand("of", "subspace"), Operand("onto", "subspace", keyword=True))

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(_same_width(types, "of", "onto"), None)


class Image(Pure):
    """`u * W`: the image of a subspace under a matrix."""

    word = "*"
    operands = (Operand("of", "subspace"), Operand("matrix", "matrix"))

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(_matrix_input(types, "of").outputs, None)


class Combination(Pure):
    """`u + v`, `u - v`: the sum or difference of two directions of length 1, again at length 1."""

    word = "+"
    same_space = True
    operands = (Operand("left", "subspace"), Operand("right", "subspace"))
    sign: Literal[1, -1] = 1

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = _same_width(types, "left", "right")
        for side in ("left", "right"):
            if types[side].rank not in (1, None):
                raise OperandMistake(
                    side,
                    "not-a-direction",
                    f"only directions can be added; this has dimension {types[side].rank}",
                    "span(u, v) joins subspaces",
                )
        return SubspaceType(width, 1)


def _same_width(types: Mapping[str, Any], first: str, second: str) -> int:
    left, right = types[first].width, types[second].width
    if left != right:
        raise OperandMistake(
            second,
            "width-mismatch",
            f"this subspace has {right} dimensions, the other one {left}",
            "both must belong to the same kind of site; `u * W` carries u through a matrix",
        )
    return int(left)


def _matrix_input(types: Mapping[str, Any], operand: str) -> MatrixType:
    matrix: MatrixType = types["matrix"]
    width = types[operand].width
    if width != matrix.inputs:
        raise OperandMistake(
            operand,
            "width-mismatch",
            f"this subspace has {width} dimensions, but the matrix takes {matrix.inputs}",
            f"use a subspace of a site that is {matrix.inputs} wide",
        )
    return matrix
