"""Gradients of a metric with respect to many activations at once: one way back for all of them.

Zeros z_S (n, k, d) are added at every site S of an arm, and what is ``moved`` beside them; then::

    gradient at S = d m / d z_S                                   (m: the metric, by pair)

The pairs of a pass don't touch each other, so the gradient of the sum of m has that of each pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from causaldsl.check.places import PositionRef
from causaldsl.engine.backend import Logits, Pass
from causaldsl.engine.dictionaries.edits import features_of
from causaldsl.engine.edits import Edit, Read
from causaldsl.engine.here import Here
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.engine.upcast import upcast
from causaldsl.graph.operations import SiteAt
from causaldsl.plan.chunks import GRADIENT_ROWS
from causaldsl.plan.virtual import read_for
from causaldsl.vocabulary.attributions import AttributionWord
from causaldsl.vocabulary.metrics import Seen


@dataclass(frozen=True, eq=False)
class Arm:
    """A run of the bases: where gradients are wanted, what is added where, and what is kept of the
    run itself."""

    at: Sequence[SiteAt]
    moved: Mapping[SiteAt, Tensor] = field(default_factory=dict)
    seen: Sequence[SiteAt] = ()

    @property
    def places(self) -> list[SiteAt]:
        return list(dict.fromkeys([*self.at, *self.moved, *self.seen]))


@dataclass(frozen=True, eq=False)
class Back:
    """Gradients and activations of a run, (n, k, d) by place."""

    gradients: Mapping[SiteAt, Tensor]
    seen: Mapping[SiteAt, Tensor]


@dataclass(frozen=True)
class Keeping(Edit):
    """An edit that also keeps what it is made on, (n, k, d) part by part."""

    kept: list[Tensor] = field(default_factory=list, compare=False)

    def _changed(self, x: Tensor) -> Tensor:
        self.kept.append(x.detach())
        return super()._changed(x)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some prompts of a group of base runs: ``rows`` are their places in it."""

    here: Here[AttributionWord]
    runs: PromptRuns
    group: Group
    rows: Tensor

    @property
    def pairs(self) -> list[int]:
        """The pairs that they are of."""
        found: list[int] = self.group.rows[self.rows].tolist()
        return found

    def clean(self, at: SiteAt) -> Tensor:
        """The activations (n, k, d) of the clean run at a place that it recorded."""
        return self.group.clean.read(Read(at.site, self.group.positions[at]))[self.rows]

    def back(self, arms: Sequence[Arm]) -> list[Back]:
        """The gradient at each place of each arm, and what was to be kept."""
        # One tensor for each position, whatever is there: backends know by it that it is the same.
        known = {at.position: there for at, there in self.group.positions.items()}
        wanted = dict.fromkeys(at.position for arm in arms for at in arm.places)
        positions = {position: known[position][self.rows] for position in wanted}
        with torch.enable_grad():
            edits = [self._edits(arm, positions) for arm in arms]
            total = self._metric([list(of_arm.values()) for of_arm in edits]).sum()
            leaves = [of[at].value for arm, of in zip(arms, edits, strict=True) for at in arm.at]
            gradients = iter(torch.autograd.grad(total, leaves))
        return [
            Back(
                {at: next(gradients) for at in arm.at},
                {at: torch.cat(of[at].kept) for at in arm.seen},
            )
            for arm, of in zip(arms, edits, strict=True)
        ]

    def _edits(self, arm: Arm, positions: Mapping[PositionRef, Tensor]) -> dict[SiteAt, Keeping]:
        loaded, seen = self.here.session.loaded, set(arm.seen)
        found = {}
        for at in arm.places:
            width = at.site.width(loaded.spec.shapes)
            assert width is not None
            shape = (*positions[at.position].shape, width)
            leaf = torch.zeros(shape, dtype=loaded.dtype, device=loaded.device)
            if at in arm.moved:
                leaf += arm.moved[at].to(leaf)
            form = Keeping if at in seen else Edit
            found[at] = form(at.site, positions[at.position], leaf.requires_grad_(), add=True)
        return found  # type: ignore[return-value]

    def _metric(self, edits: Sequence[Sequence[Edit]]) -> Tensor:
        """The metric (A, n) of each arm and pair, differentiable."""
        metric = self.here.session.graph.vocabulary.metrics[self.here.word.metric]
        answers = self.runs.answers(self.pairs)
        columns = answers.columns if metric.needs == "answers" else None
        wanted = Pass(self.group.clean, edits, Logits(columns), self.rows)
        logits = self.runs.backend.run(wanted)
        if columns is not None:
            return answers.differences(logits)
        chosen = [self.runs.pairs.pairs[row] for row in self.pairs]
        other = torch.tensor([pair.counterfactual for pair in chosen], device=logits.device)
        seen = [Seen(own, None, answers.columns, other, answers.sides) for own in logits]
        return torch.stack([metric.of_vocabulary(one) for one in seen])


Changes = Callable[[SiteAt, Tensor], Tensor]
"""Source minus base (n, k, d) at a place, of some of the rows at hand; of features too."""


def by_group(
    here: Here[AttributionWord],
    places: Sequence[SiteAt],
    estimates: Callable[[Rows, Changes], Tensor],
) -> Tensor:
    """Estimates (n, c) of all pairs in their order, from those of a few at a time.

    ``places`` are where the changes from base to source are wanted.
    """
    runs = here.runs("base")
    read = {at: read_for(at)[0] for at in places}
    sources = {at: here.runs("source").read(at) for at in dict.fromkeys(read.values())}
    done = 0

    def change(some: Rows, at: SiteAt, rows: Tensor) -> Tensor:
        base = some.clean(read[at])[rows]
        pairs = some.pairs
        source = torch.stack([sources[read[at]][pairs[row]] for row in rows.tolist()])
        if at.site.dictionary is not None:
            base, source = features_of(here.session, at.site, [base, source])
        return upcast(source) - upcast(base)

    def of_group(group: Group, pieces: int) -> Tensor:
        parts = []
        for rows in torch.arange(len(group.rows)).split(max(1, GRADIENT_ROWS // pieces)):
            here.session.progress("attribution", done + int(rows[0]), len(runs.prompts))
            some = Rows(here, runs, group, rows)
            parts.append(estimates(some, partial(change, some)))
        return torch.cat(parts)

    retrying, found = here.session.retrying(here.backend), []
    for group in runs.groups:
        found.append(retrying.in_pieces(partial(of_group, group)))
        done += len(group.rows)
    return torch.cat(found)[runs.order]
