"""Runs and recordings of a trace: everything by group of prompts, logit differences by pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.backend import Activations, Logits, Pass
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.graph.operations import SiteAt
from causaldsl.model.sites import Site
from causaldsl.plan.chunks import chunked
from causaldsl.plan.freeze import Freeze

Values = list[Tensor]
"""An activation of all prompts: (n, k, d) for each group."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A change of all base runs. ``values`` has one entry per group of prompts."""

    at: SiteAt
    values: Values
    basis: Tensor | None = None
    add: bool = False
    form: Callable[..., Edit] = Edit

    def edit(self, number: int, group: Group) -> Edit:
        positions = group.positions[self.at]
        return self.form(self.at.site, positions, self.values[number], self.basis, self.add)


class Runner:
    """The base runs of a trace's pairs."""

    def __init__(self, runs: PromptRuns):
        self.runs, self.backend = runs, runs.backend
        self._answers = [runs.answers(group.rows.tolist()) for group in runs.groups]

    @torch.no_grad()
    def logit_diffs(
        self, arms: Sequence[Sequence[Setting]], freeze: Freeze | None = None
    ) -> list[Tensor]:
        """Logit differences (n,) in the order of the pairs, for each arm's changes in force."""
        found: list[list[Tensor]] = [[] for _ in arms]
        for number, group in enumerate(self.runs.groups):
            answers = self._answers[number]
            for some in chunked(len(arms), len(group.rows)):
                edits = [[s.edit(number, group) for s in arms[i]] for i in some]
                wanted = Logits(answers.columns)
                logits = self.backend.run(Pass(group.clean, edits, wanted, hold=freeze))
                for i, own in zip(some, answers.by_pair(logits), strict=True):
                    found[i].append(own)
        return [torch.cat(parts)[self.runs.order] for parts in found]

    def logit_diff(self, settings: Sequence[Setting], freeze: Freeze | None = None) -> Tensor:
        """The logit differences of one arm, by pair."""
        return self.logit_diffs([settings], freeze)[0]

    @torch.no_grad()
    def record(
        self,
        arms: Sequence[Sequence[Setting]],
        places: Sequence[SiteAt],
        freeze: Freeze | None = None,
    ) -> list[list[Values]]:
        """The activation at each place for each arm, with its changes in force."""
        found: list[list[Values]] = [[[] for _ in places] for _ in arms]
        for number, group in enumerate(self.runs.groups):
            reads = [Read(at.site, group.positions[at]) for at in places]
            for some in chunked(len(arms), len(group.rows)):
                edits = [[s.edit(number, group) for s in arms[i]] for i in some]
                wanted = Pass(group.clean, edits, Activations(reads), hold=freeze)
                recorded = self.backend.run(wanted)
                for place, of_arms in enumerate(recorded):
                    for i, own in zip(some, of_arms, strict=True):
                        found[i][place].append(own)
        return found

    def read_alone(self, arms: Sequence[Sequence[Setting]], at: SiteAt) -> list[Values]:
        """A component's output when only an arm's changes reach its input: all else is held."""
        free = frozenset([at.site if at.site.kind == "mlp_out" else _z(at.site)])
        freeze = Freeze(attention=True, mlp=True, free=free)
        return [values for (values,) in self.record(arms, [at], freeze)]


def _z(site: Site) -> Site:
    return Site("head.z", site.layer, site.head)
