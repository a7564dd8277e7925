"""Gradients of a metric with respect to many activations at once: one way back for all of them.

Zeros z_S (n, k, d) are added at every site S of an arm, and what is ``moved`` beside them; then::

    gradient at S = d m / d z_S                                   (m: the metric, by pair)

The pairs of a pass don't touch each other, so the gradient of the sum of m has that of each pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from causaldsl.engine.backend import Logits, Pass
from causaldsl.engine.edits import Edit
from causaldsl.engine.here import Here
from causaldsl.engine.runs import Group, PromptRuns
from causaldsl.graph.operations import SiteAt
from causaldsl.vocabulary.attributions import AttributionWord
from causaldsl.vocabulary.metrics import Seen


@dataclass(frozen=True, eq=False)
class Arm:
    """A run of the bases: where gradients are wanted, and what is added where."""

    at: Sequence[SiteAt]
    moved: Mapping[SiteAt, Tensor] = field(default_factory=dict)


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

    def gradients(self, arms: Sequence[Arm]) -> list[dict[SiteAt, Tensor]]:
        """The gradient (n, k, d) at each place of each arm."""
        # One tensor for each position, whatever is there: backends know by it that it is the same.
        positions = {at.position: self.group.positions[at] for arm in arms for at in _places(arm)}
        own = {position: there[self.rows] for position, there in positions.items()}
        with torch.enable_grad():
            leaves = [self._leaves(arm, own) for arm in arms]
            edits = [
                [
                    Edit(at.site, own[at.position], leaf[at], add=True)
                    for at in _places(arm)
                ]
                for arm, leaf in zip(arms, leaves, strict=True)
            ]
            total = self._metric(edits).sum()
            wanted = [leaf[at] for arm, leaf in zip(arms, leaves, strict=True) for at in arm.at]
            found = iter(torch.autograd.grad(total, wanted))
        return [{at: next(found) for at in arm.at} for arm in arms]

    def _leaves(self, arm: Arm, positions: Mapping[object, Tensor]) -> dict[SiteAt, Tensor]:
        session = self.here.session
        shapes, device = session.loaded.spec.shapes, session.loaded.device
        found = {}
        for at in _places(arm):
            width = at.site.width(shapes)
            assert width is not None
            shape = (*positions[at.position].shape, width)
            moved = arm.moved.get(at)
            leaf = torch.zeros(shape, dtype=session.loaded.dtype, device=device)
            found[at] = leaf if moved is None else moved.to(leaf).clone()
            found[at].requires_grad_()
        return found

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


def _places(arm: Arm) -> list[SiteAt]:
    return list(dict.fromkeys([*arm.at, *arm.moved]))
