"""The evidence of an illusion audit: numbers, what each means, and which way it points.

Effects are end to end, over pairs i with the clean and patched logit differences c_i and p_i::

    effect = sum (c_i - p_i) / sum c_i                      (fldd)

and for a toy model, which has no answers, the share of the whole patch's change w_i - c_i::

    effect = sum (p_i - c_i)(w_i - c_i) / sum (w_i - c_i)^2

Shares are ratios of two effects. All intervals are 95% bootstraps over units of
pairs, with the same draws for every number, so that ratios keep their pairs together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.check.units import apart
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.audit.rule import Bounds, Facts
from causaldsl.engine.bootstrap import Bootstrap, Estimate
from causaldsl.engine.metrics import Outcome
from causaldsl.engine.subspace import SubspaceValue

_SEED = "of seed "
_NEURON_DRAWS = 200
"""Bootstrap draws for numbers that take all neurons of all pairs."""


@dataclass(frozen=True)
class Row:
    """One piece of evidence; where ``value`` is None, ``meaning`` says why."""

    name: str
    value: Estimate | float | None
    meaning: str
    points_to: str = "neither"
    details: tuple[tuple[str, Estimate | int | float], ...] = ()
    scale: tuple[float, float] | None = None
    """Up to where it points to an illusion, and from where to the feature."""

    def plain(self) -> dict[str, Any]:
        value = self.value.record() if isinstance(self.value, Estimate) else self.value
        details = {n: v.record() if isinstance(v, Estimate) else v for n, v in self.details}
        return {
            "name": self.name,
            "value": value,
            "meaning": self.meaning,
            "points_to": self.points_to,
            "details": details,
            "scale": self.scale,
        }


@dataclass(frozen=True)
class Audited:
    """Everything that an audit is made from.

    ``base`` and ``source`` are activations (n, d) at the site. ``labels`` (n,) say which way a pair
    crosses from one class to the other. ``arms`` has the outcome of every run. ``parts`` has the
    subspaces ``of``, ``against``, ``row``, ``null``, ``natural``, ``principal`` (components),
    and the matrix, whose name is ``reader``; ``of seed 1`` and so on are what other seeds give.
    ``rows`` is a basis of what the matrix sees.
    """

    pairs: PairSet
    base: Tensor
    source: Tensor
    labels: Tensor | None
    arms: dict[str, Outcome]
    parts: dict[str, Any]
    rows: Tensor | None
    text: bool
    draw: Callable[[str], torch.Generator]
    bootstrap: Bootstrap
    reader: str = ""

    def only(self, rows: Tensor) -> Audited:
        """The same of some pairs."""
        some = replace(self.pairs, pairs=tuple(self.pairs.pairs[row] for row in rows.tolist()))
        arms = {
            name: Outcome({"logit_diff": arm.logit_diff[rows]}) for name, arm in self.arms.items()
        }
        units = some.units if self.text else apart(len(some))
        return replace(
            self,
            pairs=some,
            base=self.base[rows],
            source=self.source[rows],
            labels=None if self.labels is None else self.labels[rows],
            arms=arms,
            bootstrap=Bootstrap(self.draw("some pairs"), self.bootstrap.resamples, units),
        )

    @property
    def seeds(self) -> list[str]:
        """The other seeds that the subspace was trained with."""
        return [role.removeprefix(_SEED) for role in self.parts if role.startswith(_SEED)]

    def trained_with(self, seed: str) -> Audited:
        """The same of the subspace that another seed gives: its effect and what decides."""
        end = f" seed {seed}"
        arms = {n.removesuffix(end): arm for n, arm in self.arms.items() if n.endswith(end)}
        parts = self.parts | {"of": self.parts[_SEED + seed]}
        return replace(self, parts=parts, arms=self.arms | arms)

    @property
    def of(self) -> SubspaceValue:
        value: SubspaceValue = self.parts["of"]
        return value

    @property
    def matrix(self) -> Tensor | None:
        """The one matrix (d, d_model) that reads the site, where there is one."""
        found = self.parts.get("matrix")
        return None if found is None else found.double()

    @cached_property
    def moves(self) -> Tensor:
        return self.source - self.base

    @cached_property
    def patched(self) -> Tensor:
        """The change that the patch along v makes to each activation, (n, d)."""
        return (self.moves @ self.of.basis) @ self.of.basis.T

    @cached_property
    def natural(self) -> Tensor:
        """The unit vector (d,) along which the classes differ."""
        direction: Tensor = self.parts["natural"].direction
        return direction

    @cached_property
    def signs(self) -> Tensor:
        """For each pair, +1 or -1: which way it crosses; 0 if it stays in its class."""
        return torch.sign(self.moves @ self.natural) if self.labels is None else self.labels

    def mean_of(self, values: Tensor) -> Estimate:
        """The mean of numbers of some prompts (n,), each of them a unit."""
        made = Bootstrap(self.draw("means"), self.bootstrap.resamples, apart(len(values)))
        return made.mean(values)

    @cached_property
    def scale(self) -> Tensor:
        """The whole that effects are shares of, (n,) pair by pair."""
        if self.text:
            scale = self.arms["clean"].logit_diff
        else:
            scale = (self.arms["whole"].logit_diff - self.arms["clean"].logit_diff).square()
        if scale.mean() == 0:
            raise RunFailure(
                "effects can't be measured: the mean logit difference of the clean run is 0"
                if self.text
                else "effects can't be measured: patching the whole site changes nothing"
            )
        return scale

    def change(self, arm: str) -> Tensor:
        """The effect of an arm, pair by pair, in the unit of ``scale``."""
        clean, patched = self.arms["clean"].logit_diff, self.arms[arm].logit_diff
        if self.text:
            return clean - patched
        return (patched - clean) * (self.arms["whole"].logit_diff - clean)

    def ratio(self, top: Tensor, bottom: Tensor) -> Estimate:
        """mean(top) / mean(bottom), with its interval."""
        return self.bootstrap.ratio(top, bottom)

    def effect(self, arm: str) -> Estimate:
        return self.ratio(self.change(arm), self.scale)

    def share(self, arm: str) -> Estimate | None:
        """An arm's effect divided by that of v; None where v has no effect."""
        if arm not in self.arms or self.effect("v").low <= Bounds().nothing:
            return None
        return self.ratio(self.change(arm), self.change("v"))

    @property
    def hidden(self) -> float:
        """Squared norm of v's null part, v at length 1; with several dimensions, their mean."""
        return float(self.parts["null"].vectors.norm()) ** 2 / self.of.rank

    @cached_property
    def facts(self) -> Facts:
        """What the rule reads."""
        inside = self.patched @ self.parts["principal"].basis
        whole, within = (float(part.square().sum()) for part in (self.patched, inside))
        along = self.parts["principal"].basis.T @ self.natural
        return Facts(
            effect=self.effect("v"),
            first=self.share("principal"),
            second=self.share("more principal"),
            within=self.share("clip in components"),
            whole=self.share("whole"),
            length=within / whole if whole else 0.0,
            along=float((inside @ along).square().sum()) / within if within else 1.0,
            neurons=self.neurons(),
            clip=self.share("clip"),
            sampled=self.text,
        )

    def neurons(self) -> Estimate | None:
        """The share of the patch's movement of neurons that they make naturally too."""
        if "clip" not in self.arms or self.share("v") is None:
            return None
        n = len(self.pairs)
        weights = next(self.bootstrap.weights())[:_NEURON_DRAWS]
        found = self._overlap(torch.full((1, n), 1 / n, dtype=torch.float64))
        drawn = self._overlap(weights / weights.sum(1, keepdim=True))
        return self.bootstrap.interval(float(found[0]), drawn)

    def _overlap(self, weights: Tensor) -> Tensor:
        """(r,) overlaps for r ways to weight the pairs, (r, n)."""
        assert self.matrix is not None
        signed = weights * self.signs
        patched, natural = signed @ self.patched, signed @ self.moves
        along = patched @ self.matrix
        along = along / along.norm(dim=1, keepdim=True).clamp_min(1e-300)
        writes = along @ self.matrix.T  # how far each neuron writes along the patch's output
        p, q = patched * writes, natural * writes
        shared = torch.where(p * q > 0, torch.minimum(p.abs(), q.abs()), torch.zeros_like(p))
        return shared.sum(1) / p.abs().sum(1).clamp_min(1e-300)


def points(share: Estimate, low: float, high: float, top: float) -> str:
    """Which way a share points: to an illusion below ``low``, to the feature above ``high``."""
    if share.high < low:
        return "illusory"
    return "faithful" if share.low > high and share.high < top else "neither"
