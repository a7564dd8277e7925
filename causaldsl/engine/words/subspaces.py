"""Subspaces: learned from activations, drawn, read, or made from other subspaces."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.reads import activations
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import Session, stack
from causaldsl.engine.subspace import SubspaceValue, row_basis
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.subspaces import (
    Combination,
    Complement,
    File,
    Image,
    MeanDifference,
    Neurons,
    Null,
    Pca,
    Project,
    Random,
    Row,
    Span,
    Vector,
)

# A component of a unit vector shorter than this is rounding (float32 weights).
ROUNDING = 1e-6


@evaluates(MeanDifference)
def mean_difference(session: Session, operation: Operation) -> SubspaceValue:
    first, second = operation.classes
    means = [_class_mean(session, operation, name) for name in (first, second)]
    difference = means[0] - means[1]
    if difference.norm() == 0:
        raise RunFailure(
            f"{first} and {second} have the same mean activation at {operation.at}",
            "the site may lie before the classes differ",
        )
    return SubspaceValue(difference[:, None])


@evaluates(Pca)
def pca(session: Session, operation: Operation) -> SubspaceValue:
    """Leading right singular vectors of the centred activations of all prompts."""
    word = operation.word
    assert isinstance(word, Pca)
    sides = [side for side in ("base", "source") if operation.given(side)]
    rows = torch.cat([_flat(session, operation, side) for side in sides])
    centred = rows - rows.mean(0)
    _, values, right = torch.linalg.svd(centred, full_matrices=False)
    if len(values) < word.dim:
        raise RunFailure(f"{len(rows)} activations have fewer than {word.dim} components")
    return SubspaceValue(right[: word.dim].T.contiguous())


@evaluates(Random)
def random(session: Session, operation: Operation) -> SubspaceValue:
    word = operation.word
    assert isinstance(word, Random)
    generator = session.generator(word.seed, "random", str(operation.at))
    width = operation.at_site.site.width(session.loaded.spec.shapes)
    assert width is not None
    normal = torch.randn(width, word.dim, generator=generator, dtype=torch.float64)
    return SubspaceValue(torch.linalg.qr(normal).Q)


@evaluates(Neurons)
def neurons(session: Session, operation: Operation) -> SubspaceValue:
    word = operation.word
    assert isinstance(word, Neurons)
    width = operation.at_site.site.width(session.loaded.spec.shapes)
    assert width is not None
    basis = torch.zeros(width, len(word.indices), dtype=torch.float64)
    basis[list(word.indices), range(len(word.indices))] = 1
    return SubspaceValue(basis)


@evaluates(Vector)
def vector(session: Session, operation: Operation) -> SubspaceValue:
    word = operation.word
    assert isinstance(word, Vector)
    coordinates = torch.tensor(word.coordinates, dtype=torch.float64)
    return SubspaceValue(coordinates[:, None] / coordinates.norm())


@evaluates(File)
def file(session: Session, operation: Operation) -> SubspaceValue:
    from safetensors.torch import load_file

    word = operation.word
    assert isinstance(word, File)
    tensors = load_file(word.path)
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
def span(session: Session, operation: Operation) -> SubspaceValue:
    parts = [session.value(key).basis for key in operation.all_given("parts")]
    return SubspaceValue(SubspaceValue(torch.cat(parts, 1), ROUNDING).basis)


@evaluates(Complement)
def complement(session: Session, operation: Operation) -> SubspaceValue:
    basis: Tensor = session.value(operation.given("of")).basis
    width, rank = basis.shape
    full = torch.linalg.qr(torch.cat([basis, torch.eye(width, dtype=basis.dtype)], 1)).Q
    return SubspaceValue(full[:, rank:width])


@evaluates(Row)
def row(session: Session, operation: Operation) -> SubspaceValue:
    vectors, seen = _split(session, operation)
    return SubspaceValue(seen, ROUNDING * float(vectors.norm()))


@evaluates(Null)
def null(session: Session, operation: Operation) -> SubspaceValue:
    vectors, seen = _split(session, operation)
    return SubspaceValue(vectors - seen, ROUNDING * float(vectors.norm()))


@evaluates(Project)
def project(session: Session, operation: Operation) -> SubspaceValue:
    of: SubspaceValue = session.value(operation.given("of"))
    onto: Tensor = session.value(operation.given("onto")).basis
    unit = _unit(of)
    return SubspaceValue(onto @ (onto.T @ unit), ROUNDING * float(unit.norm()))


@evaluates(Image)
def image(session: Session, operation: Operation) -> SubspaceValue:
    of: SubspaceValue = session.value(operation.given("of"))
    matrix: Tensor = session.value(operation.given("matrix")).double()
    unit = _unit(of)
    return SubspaceValue(matrix.T @ unit, ROUNDING * float(matrix.norm()))


@evaluates(Combination)
def combination(session: Session, operation: Operation) -> SubspaceValue:
    word = operation.word
    assert isinstance(word, Combination)
    left, right = (session.value(operation.given(side)).direction for side in ("left", "right"))
    total = left + word.sign * right
    length = float(total.norm())
    if length <= ROUNDING:
        return SubspaceValue(total[:, None], ROUNDING)
    return SubspaceValue(total[:, None] / length)


def _unit(value: SubspaceValue) -> Tensor:
    """The vectors with a single direction scaled to length 1, so that lengths can be compared."""
    return value.direction[:, None] if value.rank == 1 else value.basis


def _split(session: Session, operation: Operation) -> tuple[Tensor, Tensor]:
    """The unit vectors of a subspace, and their component that the matrix can see."""
    vectors = _unit(session.value(operation.given("of")))
    rows = row_space(session, operation.given("matrix"))
    return vectors, rows @ (rows.T @ vectors)


def row_space(session: Session, matrix: str | None) -> Tensor:
    """Orthonormal basis of what a matrix can see, worked out once."""
    made: Tensor = session.cached(f"row {matrix}", lambda: row_basis(session.value(matrix)))
    return made


def _flat(session: Session, operation: Operation, side: str) -> Tensor:
    """All activations of one side at the operation's place, (n * k, d)."""
    key = operation.given(side)
    assert key is not None
    backend = session.plan.backends[operation.key]
    return torch.cat(activations(session, key, backend, operation.at_site)).cpu().double()


def _class_mean(session: Session, operation: Operation, name: str) -> Tensor:
    """Mean activation (d,) of all prompts of a class, on whichever side of a pair they stand."""
    chosen: list[Tensor] = []
    for side in ("base", "source"):
        key, backend = operation.given(side), session.plan.backends[operation.key]
        assert key is not None
        pairs: PairSet = session.runs(key, backend).pairs
        values = activations(session, key, backend, operation.at_site)
        for pair, value in zip(pairs.pairs, values, strict=True):
            if name in (side, getattr(pair, side).pattern):
                chosen.append(value)
    return stack(chosen).cpu().double().mean((0, 1))
