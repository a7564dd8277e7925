"""Many looks at once: what holds for all cells of a sweep together, and where cells differ.

A cell differs if its change from the clean run has a simultaneous interval without 0. The change of
a rate that is the same for all pairs has no spread; over n units and c cells it counts where
c 2^(1 - n) <= 0.05, a sign test corrected for c looks (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from causaldsl.engine.bootstrap import LEVEL
from causaldsl.engine.drawn import simultaneous
from causaldsl.engine.metrics import Measured, exact
from causaldsl.vocabulary.metrics import Metric

CLEAN = "clean"


@dataclass(frozen=True)
class Looks:
    """Half the width of every cell's simultaneous interval, and the cells that differ from clean.

    None of both where the metric is withheld, or there is one unit.
    """

    half: list[float]
    differs: list[str]


def all_at_once(measured: Measured, metric: Metric) -> Looks:
    """A metric over all cells of a sweep."""
    bootstrap, cells = measured.bootstrap, [name for name in measured if name != CLEAN]
    n, spread = bootstrap.units.count, bootstrap.spread()
    if spread.free < 1 or metric.word in measured.withheld or not cells:
        return Looks([], [])
    draws = measured.draws(metric, [CLEAN, *cells])
    found = torch.tensor([measured[name][metric.word].mean for name in (CLEAN, *cells)]).double()
    if metric.rate:
        low, high = exact(found[1:], bootstrap.units.effective, 1 - (1 - LEVEL) / len(cells))
        half = torch.maximum(found[1:] - low, high - found[1:])
    else:
        half, _ = simultaneous(found[1:], draws[:, 1:], spread)
    changes, change_draws = found[1:] - found[0], draws[:, 1:] - draws[:, :1]
    around, _ = simultaneous(changes, change_draws, spread)
    sure = torch.full_like(around, len(cells) * 2.0 ** (1 - n) <= 1 - LEVEL, dtype=torch.bool)
    differs = torch.where(around > 0, changes.abs() > around, sure & (changes != 0))
    return Looks(
        [float(f"{each:.3g}") for each in half.tolist()],
        [cell for cell, marked in zip(cells, differs.tolist(), strict=True) if marked],
    )
