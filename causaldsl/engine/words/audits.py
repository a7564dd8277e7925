"""The words of an audit: its interventions, the natural change, and the verdict."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.audit.evidence import Audited
from causaldsl.engine.audit.rows import record
from causaldsl.engine.here import Here
from causaldsl.engine.prepared import PreparedEdit
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import stack
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words.numbers import Verdict
from causaldsl.engine.words.subspaces import row_space
from causaldsl.graph.operations import ARM, SiteAt
from causaldsl.vocabulary.audits import (
    Clip,
    Illusion,
    NaturalChange,
    PartOfPatch,
    Principal,
    SameLength,
    VerdictIs,
)
from causaldsl.vocabulary.base import SIDES, Side, Word
from causaldsl.vocabulary.matrices import Matrix


@evaluates(NaturalChange)
def natural_change(here: Here[NaturalChange]) -> SubspaceValue:
    moved = _flat(here, "source") - _flat(here, "base")
    if moved.abs().max() == 0:
        raise RunFailure(
            f"bases and sources have the same activations at {here.at}",
            "audit at a position where they differ, or to the right of one",
        )
    labels = labelled(here.pairs)
    if labels is None:
        _, _, right = torch.linalg.svd(moved, full_matrices=False)
        line = right[0] * torch.sign(right[0][right[0].abs().argmax()])
        return SubspaceValue(line[:, None])
    mean = (labels[:, None] * moved).mean(0)
    if mean.norm() == 0:
        raise RunFailure(f"the classes have the same mean activation at {here.at}")
    return SubspaceValue(mean[:, None])


def labelled(pairs: PairSet) -> Tensor | None:
    """For each pair +1 if its source is of the second class, -1 if its base is; None unless there
    are two classes. Pairs within a class count 0.
    """
    if len(pairs.classes) != 2:
        return None
    rank = {cls: i for i, cls in enumerate(pairs.classes)}
    signs = [rank[pair.source.cls] - rank[pair.base.cls] for pair in pairs.pairs]
    found = torch.tensor(signs, dtype=torch.float64)
    return found if found.any() else None


@evaluates(Principal)
def principal(here: Here[Principal]) -> SubspaceValue:
    rows = torch.cat([_flat(here, "base"), _flat(here, "source")])
    _, values, right = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    held = values.square().cumsum(0) / values.square().sum()
    return SubspaceValue(right[: int((held < here.word.share).sum()) + 1].T)


@evaluates(PartOfPatch)
def part_of_patch(
    here: Here[PartOfPatch], along: SubspaceValue, onto: SubspaceValue
) -> PreparedEdit:
    patched = (_moves(here) @ along.basis) @ along.basis.T
    inside = (patched @ onto.basis) @ onto.basis.T
    return _add(here.at, inside if here.word.part == "inside" else patched - inside)


@evaluates(Clip)
def clip(here: Here[Clip], along: SubspaceValue, frame: SubspaceValue | None) -> PreparedEdit:
    moves = _moves(here)
    patched = moves @ along.basis @ along.basis.T
    if frame is None:
        return _add(here.at, _cut(patched, moves))
    return _add(here.at, _cut(patched @ frame.vectors, moves @ frame.vectors) @ frame.vectors.T)


def _cut(moved: Tensor, own: Tensor) -> Tensor:
    """Each number cut to what lies between 0 and its own."""
    return moved.clamp(own.clamp(max=0), own.clamp(min=0))


@evaluates(SameLength)
def same_length(here: Here[SameLength], along: SubspaceValue) -> PreparedEdit:
    generator = here.generator(here.word.seed, "same length", str(here.at))
    drawn = torch.randn(along.basis.shape, generator=generator, dtype=torch.float64)
    return _add(here.at, _moves(here) @ along.basis @ torch.linalg.qr(drawn).Q.T)


@evaluates(Illusion)
def illusion(here: Here[Illusion]) -> dict[str, object]:
    """The record of the audit, as plain data."""
    session, operation = here.session, here.operation
    roles = [given.role for given in operation.inputs]
    matrix = operation.find("matrix")
    audited = Audited(
        pairs=here.pairs,
        base=_flat(here, "base"),
        source=_flat(here, "source"),
        labels=labelled(here.pairs),
        arms={
            arm.role.removeprefix(ARM): session.values[arm.key]
            for arm in operation.inputs
            if arm.role.startswith(ARM)
        },
        parts={r: here.value(r) for r in roles if r not in SIDES and not r.startswith(ARM)},
        rows=None if matrix is None else row_space(session, matrix),
        text=session.loaded.spec.shapes.text,
        draw=lambda label: here.generator(0, label, here.key),
        bootstrap=session.bootstrap(here.pairs),
        reader="" if matrix is None else _name(session.graph.operation(matrix).word),
    )
    return record(audited)


def _name(word: Word) -> str:
    assert isinstance(word, Matrix)
    return word.name


@evaluates(VerdictIs)
def verdict_is(here: Here[VerdictIs], audit: dict[str, Any]) -> Verdict:
    found, claimed = audit["verdict"], here.word.verdict
    held = found == claimed
    open_ = found == "inconclusive" and not held
    return Verdict(float(held), 1.0, None if open_ else held, found)


def _moves(here: Here[Any]) -> Tensor:
    """Source minus base at the site, (n, d)."""
    backend = here.recorded_by("base")
    return _flat(here, "source", backend) - _flat(here, "base", backend)


def _add(at: SiteAt, moved: Tensor) -> PreparedEdit:
    return PreparedEdit(at, list(moved[:, None].unbind()), None, add=True)


def _flat(here: Here[Any], side: Side, backend: str | None = None) -> Tensor:
    """Activations (n, d) of one side, at the one position of each prompt."""
    values = here.of_run(here.operation.input(side), backend=backend)
    return stack(values)[:, 0].cpu().double()
