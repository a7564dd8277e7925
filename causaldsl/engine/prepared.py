"""Interventions that are ready to run, and whether those of one place commute.

With x := x + P (v - x) along a subspace with projector P, and x := x + w, the order of two changes
of one place does not matter if, for all prompts:

    both set    P1 P2 = P2 P1  and  P1 P2 (v1 - v2) = 0     (at right angles: P1 P2 = 0)
    set, add    P w = 0
    both add    always
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.edits import Edit, Watch
from causaldsl.engine.runs import Group
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site

_RIGHT_ANGLE = 1e-5
"""The largest cosine of two directions that count as at right angles."""


@dataclass(frozen=True)
class PreparedEdit:
    """An intervention, ready to run: the value for each pair, (k, d), or one for all of them."""

    at: SiteAt
    values: list[Tensor] | Tensor
    basis: Tensor | None
    add: bool = False
    form: Callable[..., Edit] = Edit
    of: str = ""
    """What it is one part of, if it is nothing by itself: then parts are judged together."""

    def by_pair(self, count: int) -> list[Tensor]:
        """The value for each of ``count`` pairs."""
        return [self.values] * count if isinstance(self.values, Tensor) else self.values

    def edit(self, group: Group, watch: Watch | None = None) -> Edit:
        positions = group.positions[self.at]
        values = self.values
        if self.at.site.is_pattern:
            every = [values] if isinstance(values, Tensor) else values
            padded = [_for_tokens(value, group.longest) for value in every]
            values = padded[0] if isinstance(values, Tensor) else padded
        if isinstance(values, Tensor):
            value = values.expand(*positions.shape, values.shape[-1])
        else:
            value = torch.stack([values[row] for row in group.rows.tolist()])
        return self.form(self.at.site, positions, value, self.basis, self.add, watch)


def _for_tokens(value: Tensor, count: int) -> Tensor:
    """Shares of attention (k, tokens) for prompts of up to ``count`` tokens: the others' are 0."""
    return torch.nn.functional.pad(value, (0, count - value.shape[-1]))


def check_commute(
    changes: Sequence[PreparedEdit], stages: Sequence[int], pairs: PairSet, dtype: torch.dtype
) -> None:
    """Raise :class:`RunFailure` if the order of two changes in one stage would matter."""
    if len(changes) < 2:
        return
    alike: dict[tuple[Site, int], list[PreparedEdit]] = defaultdict(list)
    for change, stage in zip(changes, stages, strict=True):
        alike[change.at.site, stage].append(change)
    for several in alike.values():
        for one, other in combinations(several, 2):
            if one.add and other.add:
                continue
            if one.at.position.meets(other.at.position, pairs.side("base")):
                _check_both(one, other, len(pairs), torch.finfo(dtype).eps ** 0.5)


def _check_both(one: PreparedEdit, other: PreparedEdit, count: int, small: float) -> None:
    apart = (
        _set_and_add(one, other, count) if one.add or other.add else _both_set(one, other, count)
    )
    if apart > max(small, _RIGHT_ANGLE):
        raise RunFailure(
            f"two interventions act on {one.at} along subspaces that are not at right angles, so "
            "their order would matter",
            "write `A then B` for `A + B`: first A, then B on what A left",
        )


def _basis(change: PreparedEdit, width: int) -> Tensor:
    if change.basis is None:
        return torch.eye(width, dtype=torch.float64)
    return change.basis.cpu().double()


def _rows(change: PreparedEdit, count: int) -> Tensor:
    """All values, (rows, d)."""
    return torch.cat([value.cpu().double() for value in change.by_pair(count)])


def _set_and_add(one: PreparedEdit, other: PreparedEdit, count: int) -> float:
    """How much of what is added lies in the subspace that is set, as a share."""
    setting, adding = (other, one) if one.add else (one, other)
    added = _rows(adding, count)
    inside = added @ _basis(setting, added.shape[1])
    return float(inside.norm() / added.norm().clamp_min(1e-300))


def _both_set(one: PreparedEdit, other: PreparedEdit, count: int) -> float:
    values, others = _rows(one, count), _rows(other, count)
    first, second = (_basis(change, values.shape[1]) for change in (one, other))
    cosines = first.T @ second
    if float(cosines.norm()) <= _RIGHT_ANGLE:
        return 0.0
    # |P1 P2 - P2 P1|, without d by d matrices where the subspaces are small.
    joint = torch.linalg.qr(torch.cat((first, second), 1)).Q
    p1, p2 = (joint.T @ basis @ basis.T @ joint for basis in (first, second))
    apart = float((p1 @ p2 - p2 @ p1).norm())
    if values.shape != others.shape:
        return 1.0
    differ = (values - others) @ second @ cosines.T
    return max(apart, float(differ.norm() / values.norm().clamp_min(1e-300)))
