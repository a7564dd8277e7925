"""Whether two sessions of one program found the same: per pair, per direction, and in all records.

A tolerance t bounds logits, and whatever is as large as one. A ratio r of means (fldd, shares,
their intervals) with a mean of logits below it moves by about t (1 + |r|) |r| / |top|, so numbers
in records may differ by ``RATIOS`` t (1 + r^2). What is counted, ranked or told in words (bins,
flips, the top components of a trace, dormant edges, verdicts) must be equal: of so few pairs none
lies within rounding of a threshold. So must what is withheld (nan) and which end of an interval has
no bound (inf). A learned direction is compared by coordinate: a step of Adam
is lr g / (|g| + 1e-8), so the rounding of a gradient passes on damped, and after an epoch of a step
or two the bases are as near as the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from causaldsl.check.checked import CheckedProgram
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.records import gather
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words.histograms import Projected

RATIOS = 5
APART = ("provenance", "timings", "notes")
"""What says how a run was made."""


def differences(
    program: CheckedProgram, ours: Session, theirs: Session, tolerance: float
) -> list[str]:
    """Where the two differ, a line each; none if they found the same."""
    records = (gather(program, s, 0.0).model_dump() for s in (ours, theirs))
    mine, other = ({k: v for k, v in r.items() if k not in APART} for r in records)
    return [
        *values_apart(ours, theirs, tolerance),
        *records_apart(mine, other, "", RATIOS * tolerance),
    ]


def values_apart(ours: Session, theirs: Session, tolerance: float) -> Iterator[str]:
    """Outcomes by pair, directions by coordinate, projections by prompt."""
    for key in ours.graph.order():
        mine, other = ours.values.get(key), theirs.values.get(key)  # let go of after their use
        what = f"{ours.graph.operation(key).label} ({ours.graph.name_of(key) or key})"
        if isinstance(mine, Outcome):
            if mine.columns.keys() != other.columns.keys():
                yield f"{what}: {sorted(mine.columns)} and {sorted(other.columns)}"
            for name in mine.columns.keys() & other.columns.keys():
                pair = mine.columns[name], other.columns[name]
                yield from _tensors(*pair, f"{what}: {name}", tolerance)
        elif isinstance(mine, SubspaceValue):
            yield from _subspaces(mine, other, what, tolerance)
        elif isinstance(mine, Projected):
            for row, pair in enumerate(zip(mine.values, other.values, strict=True)):
                yield from _tensors(*pair, f"{what}: prompt {row}", tolerance)


def _subspaces(mine: SubspaceValue, other: SubspaceValue, what: str, tolerance: float) -> list[str]:
    """A direction with its sign; of several dimensions, which basis is chosen means nothing."""
    if mine.vectors.shape[1] == 1 or mine.rank != other.rank:
        return _tensors(mine.vectors, other.vectors, what, tolerance)
    basis = other.basis
    return _tensors(mine.basis, basis @ (basis.T @ mine.basis), what, tolerance)


def _tensors(mine: Tensor | None, other: Tensor | None, what: str, tolerance: float) -> list[str]:
    if mine is None or other is None:
        return [] if mine is other else [f"{what}: only one has it"]
    if mine.shape != other.shape:
        return [f"{what}: {tuple(mine.shape)} and {tuple(other.shape)}"]
    size = max(1.0, float(other.abs().max())) if other.numel() else 1.0
    apart = float((mine - other).abs().max()) if other.numel() else 0.0
    return [] if apart <= tolerance * size else [f"{what}: {apart:.2g} apart at size {size:.2g}"]


def records_apart(mine: Any, other: Any, where: str, tolerance: float) -> Iterator[str]:
    if isinstance(mine, Mapping) and isinstance(other, Mapping) and mine.keys() == other.keys():
        for name in mine:
            pair = mine[name], other[name]
            if name == "between":  # the root of a difference that is cut at 0
                pair = _squares(pair[0]), _squares(pair[1])
            yield from records_apart(*pair, f"{where}.{name}", tolerance)
    elif isinstance(mine, float) and isinstance(other, float):
        if not _near(mine, other, tolerance):
            yield f"{where}: {mine} and {other}"
    elif _is_list(mine) and _is_list(other) and len(mine) == len(other):
        for i, pair in enumerate(zip(mine, other, strict=True)):
            yield from records_apart(*pair, f"{where}[{i}]", tolerance)
    elif mine != other:
        yield f"{where}: {mine!r} and {other!r}"


def _squares(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: number * number for name, number in numbers.items()}


def _near(mine: float, other: float, tolerance: float) -> bool:
    if not (math.isfinite(mine) and math.isfinite(other)):
        return mine == other or (math.isnan(mine) and math.isnan(other))
    return abs(mine - other) <= tolerance * (1 + other * other)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
