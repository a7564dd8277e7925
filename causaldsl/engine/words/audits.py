"""The words of an audit: its interventions, the natural change, and the verdict."""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.audit.evidence import Audited
from causaldsl.engine.audit.rows import record
from causaldsl.engine.reads import activations
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import Session, stack
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words.numbers import Verdict
from causaldsl.engine.words.runs import PreparedEdit
from causaldsl.engine.words.subspaces import row_space
from causaldsl.graph.operations import ARM, Operation
from causaldsl.vocabulary.audits import (
    Illusion,
    NaturalChange,
    PartOfPatch,
    SameLength,
    VerdictIs,
)


@evaluates(NaturalChange)
def natural_change(session: Session, operation: Operation) -> SubspaceValue:
    backend = session.plan.backends[operation.key]
    base, source = (_flat(session, operation, side, backend) for side in ("base", "source"))
    moved = source - base
    if moved.abs().max() == 0:
        raise RunFailure(
            f"bases and sources have the same activations at {operation.at}",
            "audit at a position where they differ, or to the right of one",
        )
    pairs = session.runs(operation.given("base"), backend).pairs
    labels = labelled(pairs)
    if labels is None:
        _, _, right = torch.linalg.svd(moved, full_matrices=False)
        line = right[0] * torch.sign(right[0][right[0].abs().argmax()])
        return SubspaceValue(line[:, None])
    mean = (labels[:, None] * moved).mean(0)
    if mean.norm() == 0:
        raise RunFailure(f"the classes have the same mean activation at {operation.at}")
    return SubspaceValue(mean[:, None])


def labelled(pairs: PairSet) -> Tensor | None:
    """For each pair +1 if its source is of the second class, -1 if its base is; None if patterns
    don't give two classes.

    ABB and CDD are one class, BAB and DCD the other. Pairs within a class count 0.
    """
    shapes = sorted({p.shape for pair in pairs.pairs for p in (pair.base, pair.source)})
    if len(shapes) != 2 or "" in shapes:
        return None
    rank = {shape: i for i, shape in enumerate(shapes)}
    signs = [rank[pair.source.shape] - rank[pair.base.shape] for pair in pairs.pairs]
    found = torch.tensor(signs, dtype=torch.float64)
    return found if found.any() else None


@evaluates(PartOfPatch)
def part_of_patch(session: Session, operation: Operation) -> PreparedEdit:
    word = operation.word
    assert isinstance(word, PartOfPatch)
    moves, along = _moves(session, operation)
    line: Tensor = session.value(operation.given("onto")).basis
    patched = (moves @ along) @ along.T
    inside = (patched @ line) @ line.T
    return _add(operation, inside if word.part == "inside" else patched - inside)


@evaluates(SameLength)
def same_length(session: Session, operation: Operation) -> PreparedEdit:
    word = operation.word
    assert isinstance(word, SameLength)
    moves, along = _moves(session, operation)
    generator = session.generator(word.seed, "same length", str(operation.at))
    drawn = torch.randn(along.shape, generator=generator, dtype=torch.float64)
    return _add(operation, moves @ along @ torch.linalg.qr(drawn).Q.T)


@evaluates(Illusion)
def illusion(session: Session, operation: Operation) -> dict[str, object]:
    """The record of the audit, as plain data."""
    backend = session.plan.backends[operation.key]
    base, source = (_flat(session, operation, side, backend) for side in ("base", "source"))
    pairs = session.runs(operation.given("base"), backend).pairs
    roles = ("of", "against", "matrix", "row", "null", "natural")
    keys = {role: operation.given(role) for role in roles}
    audited = Audited(
        pairs=pairs,
        base=base,
        source=source,
        labels=labelled(pairs),
        arms={
            given.role.removeprefix(ARM): session.value(given.key)
            for given in operation.inputs
            if given.role.startswith(ARM)
        },
        parts={role: session.value(key) for role, key in keys.items() if key is not None},
        rows=None if keys["matrix"] is None else row_space(session, keys["matrix"]),
        text=session.loaded.spec.shapes.text,
        draw=lambda label: session.generator(0, label, operation.key),
        resamples=session.settings.resamples,
    )
    return record(audited)


@evaluates(VerdictIs)
def verdict_is(session: Session, operation: Operation) -> Verdict:
    word = operation.word
    assert isinstance(word, VerdictIs)
    found = session.value(operation.given("audit"))["verdict"]
    held = found == word.verdict
    return Verdict(float(held), 1.0, held, found)


def _moves(session: Session, operation: Operation) -> tuple[Tensor, Tensor]:
    """Source minus base at the site, (n, d), and the basis of the patch."""
    key = operation.given("base")
    assert key is not None
    backend = session.plan.recorded_by(key, operation.at_site)
    base, source = (_flat(session, operation, side, backend) for side in ("base", "source"))
    return source - base, session.value(operation.given("along")).basis


def _add(operation: Operation, moved: Tensor) -> PreparedEdit:
    return PreparedEdit(operation.at_site, list(moved[:, None].unbind()), None, add=True)


def _flat(session: Session, operation: Operation, side: str, backend: str) -> Tensor:
    """Activations (n, d) of one side, at the one position of each prompt."""
    key = operation.given(side)
    assert key is not None
    values = stack(activations(session, key, backend, operation.at_site))
    return values[:, 0].cpu().double()
