"""Words that give a subspace: learned from data, read from a file, or made from other subspaces.

A subspace is kept as vectors, which need not be orthonormal; an orthonormal basis of their span is
taken when it is patched. ``norm`` sees the vectors as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.base import (
    EPOCHS,
    FEWEST,
    HELD_OUT,
    SIDES,
    STEPS,
    MatrixType,
    Operand,
    OperandMistake,
    Pure,
    SubspaceType,
    Training,
    Word,
    function,
)

_SITE = Operand("site", "site")
_ON = Operand("on", "pairs", keyword=True)
_Index = Annotated[int, Field(strict=True)]
_Count = Annotated[int, Field(ge=1, strict=True)]
_BY_PAIRS = f"for {STEPS} steps, at least {EPOCHS}, {HELD_OUT:g} held out of {FEWEST} pairs or more"
"""How DAS is trained where a program gives no epochs (``plan/examples.py``): part of its key."""
_Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _site_width(types: Mapping[str, Any]) -> int:
    width = types["site"].width
    if width is None:
        raise OperandMistake(
            "site",
            "unknown-width",
            "the width of a raw hook is not known before the run",
            "use a named site, such as resid_post[0] @ END",
        )
    return int(width)


def _fits(operand: str, rank: int, width: int, what: str) -> None:
    if rank > width:
        raise OperandMistake(
            operand,
            "rank-too-large",
            f"{what} of dimension {rank} does not fit into {width} dimensions",
            f"choose at most {width}",
        )


def _check_neurons(operand: str, indices: tuple[int, ...], width: int) -> None:
    for index in indices:
        if not 0 <= index < width:
            raise OperandMistake(
                operand,
                "neuron-range",
                f"there is no neuron {index} at this site",
                f"its neurons are 0 to {width - 1}",
            )
    if len(set(indices)) != len(indices) or not indices:
        raise OperandMistake(
            operand,
            "neuron-list",
            "neurons must be listed once each, and at least one",
            "write neurons: [3, 17]",
        )


def _check_count(operand: str, count: int, width: int) -> None:
    if count > width:
        raise OperandMistake(
            operand,
            "neuron-range",
            f"there are {width} neurons at this site, not {count}",
            f"choose at most {width}",
        )


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


@function
class Das(Word):
    """A subspace found by distributed alignment search (Geiger et al., 2024).

    An orthonormal basis trained through the patch, by Adam, on the pairs and on no-change pairs
    (prompts of the same class with unrelated names). ``no_change`` is how many of these there are
    for each pair; ``decay`` is that of the learning rate. ``neurons`` restricts it to some
    coordinates of the site: a list of indices, or how many to draw (by ``neurons_seed``, or else by
    ``seed``; a smaller draw of a seed is part of a larger one). The basis is 0 elsewhere.

    Without ``epochs`` it trains for as many as make 100 steps, and at least 10; a fifth of the
    pairs is held out, and the basis is that of the epoch in which their loss was lowest.
    """

    word = "das"
    runs = "gradients"
    sides = SIDES
    learned = True
    operands = (_SITE, _ON)
    dim: int = Field(1, ge=1)
    neurons: _Count | tuple[_Index, ...] | None = None
    neurons_seed: _Seed | None = None
    objective: Literal["cross_entropy", "logit_diff"] = "cross_entropy"
    lr: float = Field(0.01, gt=0)
    epochs: int | None = Field(None, ge=1, le=100_000)
    batch: int = Field(64, ge=1, le=1_000_000)
    seed: int = Field(0, ge=0, lt=2**31)
    no_change: float = Field(1.0, ge=0, le=1)
    decay: Literal["linear", "cosine", "none"] = "linear"

    def coordinates(self, width: int | None) -> int | None:
        """How many coordinates of a site of this width it may use."""
        if isinstance(self.neurons, tuple):
            return len(self.neurons)
        return width if self.neurons is None else self.neurons

    def retrained(self, dim: int, neurons: int | None = None) -> Das:
        return self.model_copy(update={"dim": dim, "neurons": neurons, "neurons_seed": None})

    def aligned(self) -> bool:
        """Examples are trained on together, and no-change examples take other prompts' values."""
        return True

    def training(self, width: int | None) -> Training:
        """Where only one subspace fits there is nothing to learn: one epoch, for its loss."""
        epochs = 1 if self.coordinates(width) == self.dim else self.epochs
        return Training(epochs, self.batch, self.no_change, self.objective == "cross_entropy")

    def identity(self) -> dict[str, Any]:
        """Options that are not in use don't count."""
        unused = {name for name in ("neurons", "neurons_seed") if getattr(self, name) is None}
        said = self.model_dump(mode="json", exclude=unused)
        return said if self.epochs is not None else {**said, "epochs": _BY_PAIRS}

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = _site_width(types)
        _fits("site", self.dim, width, "a subspace")
        if isinstance(self.neurons, tuple):
            _check_neurons("neurons", self.neurons, width)
            _fits("neurons", self.dim, len(self.neurons), "a subspace")
        elif self.neurons is not None:
            _check_count("neurons", self.neurons, width)
            _fits("neurons", self.dim, self.neurons, "a subspace")
        if self.neurons_seed is not None and not isinstance(self.neurons, int):
            raise OperandMistake(
                "neurons",
                "bad-option",
                "`neurons_seed` draws neurons, but none are to be drawn",
                "say how many with `neurons: k`, or leave it out",
            )
        return SubspaceType(width, self.dim)


@function
class MeanDifference(Word):
    """Mean activation of one class of prompts minus that of another: one direction."""

    word = "mean_difference"
    runs = "reads"
    sides = SIDES
    operands = (_SITE, Operand("first", "class"), Operand("second", "class"), _ON)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(_site_width(types), 1)

    def aligned(self) -> bool:
        return True


@function
class Gradient(Word):
    """Mean gradient of a metric of the base runs with respect to their activations at a site.

    The mean is over the bases of the pairs, and over positions if the site has several.
    """

    word = "gradient"
    runs = "gradients"
    sides = ("base",)
    operands = (_SITE, _ON)
    of: Literal["logit_diff"] = "logit_diff"

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(_site_width(types), 1)


@function
class BestNeurons(Word):
    """The span of the k neurons whose own change from base to source should matter most.

    They are ranked by attribution: the size of the mean over the pairs of the gradient of
    `logit_diff` in the base run, times the change. It proposes neurons; what they do is measured by
    patching them.
    """

    word = "best_neurons"
    runs = "gradients"
    sides = SIDES
    operands = (_SITE, _ON)
    k: int = Field(ge=1)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = _site_width(types)
        _check_count("site", self.k, width)
        return SubspaceType(width, self.k)

    def aligned(self) -> bool:
        return True


@function
class Pca(Word):
    """The leading principal components of the activations of all prompts of the pairs."""

    word = "pca"
    runs = "reads"
    sides = SIDES
    operands = (_SITE, Operand("on", "prompts", keyword=True))
    dim: int = Field(1, ge=1)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = _site_width(types)
        _fits("site", self.dim, width, "a subspace")
        return SubspaceType(width, self.dim)

    def check_enough(self, prompts: Sequence[Hashable], positions: int) -> None:
        if positions < self.dim:
            message = f"{positions} activations have fewer than {self.dim} components"
            raise Mistake("too-few-prompts", message, "use more prompts")


@function
class Random(Pure):
    """A uniformly random subspace of a site: the baseline that any direction should beat."""

    word = "random"
    operands = (_SITE,)
    dim: int = Field(1, ge=1)
    seed: int = Field(0, ge=0, lt=2**31)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = _site_width(types)
        _fits("site", self.dim, width, "a subspace")
        return SubspaceType(width, self.dim)


@function
class Neurons(Pure):
    """The coordinates of a site with these indices, counted from 0."""

    word = "neurons"
    operands = (_SITE, Operand("indices", "integers"))
    computed = ("indices",)
    indices: tuple[int, ...] = ()

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = _site_width(types)
        _check_neurons("indices", self.indices, width)
        return SubspaceType(width, len(self.indices))


@function
class Vector(Pure):
    """The direction with these coordinates at a site."""

    word = "vector"
    operands = (_SITE, Operand("coordinates", "coordinates"))
    computed = ("coordinates",)
    coordinates: tuple[float, ...] = ()

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = _site_width(types)
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
