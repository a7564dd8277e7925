"""Many looks at once: what holds for all cells of a sweep together, and where cells differ.

A cell differs if its change from the clean run has a simultaneous interval without 0. That of a
ratio is the change of what is divided: a run that changes nothing has none there, whatever the
divisor is, and a divisor that may be nearly 0 would drown it. So fldd, recovered and
logit_diff mark the same cells, and a ratio that is withheld has marks. The change of
a rate that is the same for all pairs has no spread; over n units and c cells it counts where
c 2^(1 - n) <= 0.05, a sign test corrected for c looks (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.engine.bootstrap import LEVEL, Bootstrap
from causaldsl.engine.drawn import simultaneous, usual
from causaldsl.engine.metrics import ROUNDING, Measured, exact
from causaldsl.vocabulary.metrics import Metric

CLEAN = "clean"


@dataclass(frozen=True)
class Looks:
    """Half the width of every cell's simultaneous interval, and the cells that differ from clean.

    ``half`` is empty where the metric is withheld, and ``differs`` None where that leaves nothing
    to look at; so are both where there is one unit.
    """

    half: list[float]
    differs: list[str] | None


def all_at_once(measured: Measured, metric: Metric, rounding: float = ROUNDING["float64"]) -> Looks:
    """A metric over all cells of a sweep. Changes by up to a share ``rounding`` of what they are
    changes of are none, as in claims."""
    cells = [name for name in measured if name != CLEAN]
    if measured.bootstrap.spread().free < 1 or not cells:
        return Looks([], None)
    values = None if metric.word in measured.withheld else _values(measured, metric, cells)
    half = [] if values is None else _half(measured, metric, *values)
    changes = measured.changes(metric, cells)
    if changes is None and values is not None:
        found, draws = values
        changes = found[1:] - found[0], draws[:, 1:] - draws[:, :1]
    if changes is None:
        return Looks([], None)
    least = rounding * _sizes(measured, metric, cells)
    marked = _marked(*changes, measured.bootstrap, least).tolist()
    return Looks(half, [cell for cell, differs in zip(cells, marked, strict=True) if differs])


def _values(measured: Measured, metric: Metric, cells: list[str]) -> tuple[Tensor, Tensor]:
    """Those of the clean run and the cells (1 + c,), and in every draw (r, 1 + c)."""
    found = [measured[name][metric.word].mean for name in (CLEAN, *cells)]
    draws = measured.draws(metric, [CLEAN, *cells])
    return torch.tensor(found, dtype=torch.float64), draws


def _half(measured: Measured, metric: Metric, values: Tensor, drawn: Tensor) -> list[float]:
    found, draws, bootstrap = values[1:], drawn[:, 1:], measured.bootstrap
    if metric.rate:
        low, high = exact(found, bootstrap.units.effective, 1 - (1 - LEVEL) / len(found))
        half = torch.maximum(found - low, high - found)
    else:
        ratio = type(metric).divisor is not Metric.divisor
        scale = usual(found, draws) if ratio else None
        half, _ = simultaneous(found, draws, bootstrap.spread(), scale=scale)
    return [float(f"{each:.3g}") for each in half.tolist()]


def _marked(changes: Tensor, draws: Tensor, bootstrap: Bootstrap, least: Tensor) -> Tensor:
    """Which cells (c,) differ from the clean run, by more than ``least`` (c,)."""
    around, _ = simultaneous(changes, draws, bootstrap.spread())
    looks = len(changes) * 2.0 ** (1 - bootstrap.units.count)
    sure = torch.full_like(around, looks <= 1 - LEVEL, dtype=torch.bool)
    return torch.where(around > 0, changes.abs() - around > least, sure & (changes.abs() > least))


def _sizes(measured: Measured, metric: Metric, cells: list[str]) -> Tensor:
    """How large the means are (c,) that change from the clean run to each cell."""
    means = torch.stack(
        [measured.columns_of(metric, [n])[:, :, 0].mean(0) for n in (CLEAN, *cells)]
    )
    sizes = means.abs().amax(1)
    return sizes[1:].clamp_min(float(sizes[0]))
