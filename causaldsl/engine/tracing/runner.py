"""Runs and recordings of a trace: everything by group of prompts, logit differences by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.edits import Edit, Freeze, Read
from causaldsl.engine.metrics import from_answers
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site

Values = list[Tensor]
"""An activation of all prompts: (n, k, d) for each group."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A change of all base runs. ``values`` has one entry a group of prompts."""

    at: SiteAt
    values: Values
    basis: Tensor | None = None
    add: bool = False

    def edit(self, number: int, group: Group) -> Edit:
        positions = group.positions[self.at]
        return Edit(self.at.site, positions, self.values[number], self.basis, self.add)


class Runner:
    """The base runs of a trace's pairs."""

    def __init__(self, runs: PromptRuns):
        self.runs, self.backend = runs, runs.backend
        pairs = [(pair.answer, pair.foil) for pair in runs.pairs.pairs]
        answers = torch.tensor(pairs, device=runs.device)
        self._answers = [answers[group.rows] for group in runs.groups]

    @torch.no_grad()
    def logit_diff(self, settings: Sequence[Setting], freeze: Freeze | None = None) -> Tensor:
        """Logit differences (n,) in the order of the pairs, with these changes in force."""
        found = [
            self.runs.logits(
                group, [s.edit(number, group) for s in settings], self._answers[number], freeze
            )
            for number, group in enumerate(self.runs.groups)
        ]
        return torch.cat([from_answers(logits) for logits in found])[self.runs.order]

    @torch.no_grad()
    def record(
        self, settings: Sequence[Setting], places: Sequence[SiteAt], freeze: Freeze | None = None
    ) -> list[Values]:
        """The activation at each place, with these changes in force."""
        by_group = [
            self.backend.record(
                group.clean,
                [s.edit(number, group) for s in settings],
                [Read(at.site, group.positions[at]) for at in places],
                None,
                freeze,
            )
            for number, group in enumerate(self.runs.groups)
        ]
        return [[values[i] for values in by_group] for i in range(len(places))]

    def read_alone(self, settings: Sequence[Setting], at: SiteAt) -> Values:
        """A component's output when only these changes reach its input: all else is held."""
        free = frozenset([at.site if at.site.kind == "mlp_out" else _z(at.site)])
        freeze = Freeze(attention=True, mlp=True, free=free)
        (values,) = self.record(settings, [at], freeze)
        return values


def _z(site: Site) -> Site:
    return Site("head.z", site.layer, site.head)
