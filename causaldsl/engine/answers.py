"""Answers and foils of prompts: one token each, or sets of tokens.

    logit difference = mean logit of the answers - mean logit of the foils

Where there is no foil, it is the mean logit of the answers; no metric reports that as a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.check.pairs import Pair


@dataclass(frozen=True, eq=False)
class Answers:
    """Token ids ``columns`` (n, c) of n prompts: answers, then foils, then others as padding.

    ``sides`` (n, c) says which is which: 1, -1 and 0. None where these are one answer and one foil.
    """

    columns: Tensor
    sides: Tensor | None = None

    def take(self, rows: Tensor) -> Answers:
        """Those of some of the prompts."""
        sides = None if self.sides is None else self.sides[rows]
        return Answers(self.columns[rows], sides)

    @property
    def weights(self) -> Tensor:
        """What each logit counts in the logit difference, (n, c)."""
        assert self.sides is not None
        counts = (self.sides[:, :, None] == self.sides[:, None]).sum(-1)
        return self.sides.double() / counts

    def differences(self, logits: Tensor) -> Tensor:
        """Logit differences (..., n) from the logits of the columns, (..., n, c)."""
        if self.sides is None:
            return logits[..., 0] - logits[..., 1]
        return (logits * self.weights.to(logits)).sum(-1)

    def by_pair(self, logits: Tensor) -> Tensor:
        """The same as numbers, in double precision on the CPU."""
        if self.sides is None:
            return self.differences(logits).cpu().double()
        return (logits.cpu().double() * self.weights.cpu()).sum(-1)


def answers_of(pairs: Sequence[Pair], device: str) -> Answers:
    """The answers and foils of some pairs."""
    if not any(pair.sets for pair in pairs):
        return Answers(torch.tensor([[p.answer, p.foil] for p in pairs], device=device))
    rows = [[*answers, *foils] for answers, foils in (pair.members for pair in pairs)]
    signs = [[1] * len(a) + [-1] * len(f) for a, f in (pair.members for pair in pairs)]
    most = max(map(len, rows))
    columns = [[*row, *[row[0]] * (most - len(row))] for row in rows]
    sides = [[*sign, *[0] * (most - len(sign))] for sign in signs]
    return Answers(torch.tensor(columns, device=device), torch.tensor(sides, device=device))
