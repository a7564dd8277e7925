"""Subspaces: learned from activations, drawn, read, or made from other subspaces."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import Session, stack
from causaldsl.engine.subspace import SubspaceValue, row_basis, unit_vectors
from causaldsl.vocabulary.base import SIDES, Side
from causaldsl.vocabulary.learned import MeanDifference, Pca
from causaldsl.vocabulary.subspaces import (
    Combination,
    Complement,
    File,
    Image,
    Neurons,
    Null,
    Project,
    Random,
    Row,
    Span,
    Vector,
)

# A component of a unit vector shorter than this is rounding (float32 weights).
ROUNDING = 1e-6


@evaluates(MeanDifference)
def mean_difference(here: Here[MeanDifference]) -> SubspaceValue:
    one, other = of_classes(here)
    for name, values in zip(names_of(here), (one, other), strict=True):
        if not values:
            raise RunFailure(f"no prompt is of {name}", "name a class of some of the prompts")
    difference = _mean(one) - _mean(other)
    if difference.norm() == 0:
        first, second = names_of(here)
        raise RunFailure(
            f"{first} and {second} have the same mean activation at {here.at}",
            "the site may lie before the classes differ",
        )
    return SubspaceValue(difference[:, None])


@evaluates(Pca)
def pca(here: Here[Pca]) -> SubspaceValue:
    """Leading right singular vectors of the centred activations of all prompts."""
    dim = here.word.dim
    rows = torch.cat([here.rows(side) for side in SIDES if here.operation.find(side)])
    centred = rows - rows.mean(0)
    _, values, right = torch.linalg.svd(centred, full_matrices=False)
    if len(values) < dim:
        raise RunFailure(f"{len(rows)} activations have fewer than {dim} components")
    return SubspaceValue(right[:dim].T.contiguous())


@evaluates(Random)
def random(here: Here[Random]) -> SubspaceValue:
    generator = here.generator(here.word.seed, "random", str(here.at))
    normal = torch.randn(here.width, here.word.dim, generator=generator, dtype=torch.float64)
    return SubspaceValue(torch.linalg.qr(normal).Q)


@evaluates(Neurons)
def neurons(here: Here[Neurons]) -> SubspaceValue:
    return SubspaceValue(unit_vectors(here.word.indices, here.width))


@evaluates(Vector)
def vector(here: Here[Vector]) -> SubspaceValue:
    coordinates = torch.tensor(here.word.coordinates, dtype=torch.float64)
    return SubspaceValue(coordinates[:, None] / coordinates.norm())


@evaluates(File)
def file(here: Here[File]) -> SubspaceValue:
    from safetensors.torch import load

    word = here.word
    data = Path(word.path).read_bytes()
    if hashlib.sha256(data).hexdigest()[:16] != word.digest:
        raise RunFailure(f"{word.path} has changed since the program was checked", "run it again")
    tensors = load(data)
    tensor = tensors["basis"] if "basis" in tensors else next(iter(tensors.values()))
    # A direction that is no direction would silently patch nothing.
    if tensor.is_complex() or not tensor.double().isfinite().all():
        raise RunFailure(
            f"{word.path} holds values that are not finite real numbers",
            "look at how it was made; a training run that diverged leaves NaN",
        )
    vectors = tensor.double().reshape(word.width, word.rank)
    length = float(vectors.norm())
    if not 0 < length < math.inf:
        what = "only zeros" if not vectors.any() else "numbers too large or small to square"
        raise RunFailure(f"{word.path} holds {what}", "a direction needs a length, any length")
    return SubspaceValue(vectors)


@evaluates(Span)
def span(parts: list[SubspaceValue]) -> SubspaceValue:
    joined = torch.cat([part.basis for part in parts], 1)
    return SubspaceValue(SubspaceValue(joined, ROUNDING).basis)


@evaluates(Complement)
def complement(of: SubspaceValue) -> SubspaceValue:
    width, rank = of.basis.shape
    full = torch.linalg.qr(torch.cat([of.basis, torch.eye(width, dtype=of.basis.dtype)], 1)).Q
    return SubspaceValue(full[:, rank:width])


@evaluates(Row)
def row(here: Here[Row], of: SubspaceValue) -> SubspaceValue:
    vectors, seen = _split(here, of)
    return SubspaceValue(seen, ROUNDING * float(vectors.norm()))


@evaluates(Null)
def null(here: Here[Null], of: SubspaceValue) -> SubspaceValue:
    vectors, seen = _split(here, of)
    return SubspaceValue(vectors - seen, ROUNDING * float(vectors.norm()))


@evaluates(Project)
def project(of: SubspaceValue, onto: SubspaceValue) -> SubspaceValue:
    unit = _unit(of)
    return SubspaceValue(onto.basis @ (onto.basis.T @ unit), ROUNDING * float(unit.norm()))


@evaluates(Image)
def image(of: SubspaceValue, matrix: Tensor) -> SubspaceValue:
    return SubspaceValue(matrix.double().T @ _unit(of), ROUNDING * float(matrix.double().norm()))


@evaluates(Combination)
def combination(
    here: Here[Combination], left: SubspaceValue, right: SubspaceValue
) -> SubspaceValue:
    total = left.direction + here.word.sign * right.direction
    length = float(total.norm())
    if length <= ROUNDING:
        return SubspaceValue(total[:, None], ROUNDING)
    return SubspaceValue(total[:, None] / length)


def _unit(value: SubspaceValue) -> Tensor:
    """The vectors with a single direction scaled to length 1, so that lengths can be compared."""
    return value.direction[:, None] if value.rank == 1 else value.basis


def _split(here: Here[Any], of: SubspaceValue) -> tuple[Tensor, Tensor]:
    """The unit vectors of a subspace, and their component that the matrix can see."""
    vectors = _unit(of)
    rows = row_space(here.session, here.operation.input("matrix"))
    return vectors, rows @ (rows.T @ vectors)


def row_space(session: Session, matrix: str) -> Tensor:
    """Orthonormal basis of what a matrix can see, worked out once."""
    made: Tensor = session.cached(f"row {matrix}", lambda: row_basis(session.values[matrix]))
    return made


def names_of(here: Here[Any]) -> tuple[str, str]:
    """What the two classes of a word are called; of one, the other is all else."""
    first, *second = here.operation.classes
    return first, *(second or ["all other classes"])  # type: ignore[return-value]


def of_classes(here: Here[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Activations (k, d) of all prompts of one class and of the other, on whichever side."""
    both: tuple[list[Tensor], list[Tensor]] = ([], [])
    for side in SIDES:
        if here.operation.find(side) is None:
            continue
        for member, value in zip(members(here, side), here.activations(side), strict=True):
            for values, is_one in zip(both, member, strict=True):
                values += [value] if is_one else []
    return both


def members(here: Here[Any], side: Side) -> list[tuple[bool, bool]]:
    """Whether each prompt of a side is of a word's first class, and of its second."""
    first, *second = here.operation.classes
    both = [(first in (side, p.cls), {*second} & {side, p.cls}) for p in here.pairs.side(side)]
    return [(one, bool(other) if second else not one) for one, other in both]


def _mean(values: list[Tensor]) -> Tensor:
    """Mean (d,) over prompts and positions."""
    return stack(values).cpu().double().mean((0, 1))
