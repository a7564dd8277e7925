"""What was found token by token, by pair: see ``check/spelled.py``."""

from __future__ import annotations

from dataclasses import replace

import torch

from causaldsl.check.pairs import PairSet
from causaldsl.check.spelled import folds
from causaldsl.engine.metrics import Outcome


def by_whole(outcome: Outcome, pairs: PairSet) -> Outcome:
    """An outcome by pair (n,) from one by row, whose `loss` is each token's own."""
    places = torch.tensor(folds(pairs)).T
    sums = torch.zeros(len(pairs), 2, dtype=torch.float64)
    sums.index_put_(tuple(places), -outcome.columns["loss"].double(), accumulate=True)
    answer, foil = sums.unbind(1)
    columns = {
        "logit_diff": answer - foil,
        "prob": answer.exp(),
        "prob_diff": answer.exp() - foil.exp(),
        "loss": -answer,
    }
    return replace(outcome, columns=columns)
