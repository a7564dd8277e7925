"""What a measure finds in each template, and how much templates differ beyond sampling.

With the metric theta_t of k templates and its variance v_t over draws of that template's units::

    w_t = 1 / v_t,   Q = sum w_t (theta_t - mean_w)^2
    between^2 = max(0, (Q - (k - 1)) / (sum w - sum w^2 / sum w))     (DerSimonian and Laird 1986)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from causaldsl.check.checked import CheckedProgram
from causaldsl.engine.bootstrap import Spread, all_ends
from causaldsl.engine.looks import CLEAN
from causaldsl.engine.metrics import Measured
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session
from causaldsl.vocabulary.metrics import Metric, headline


@gathers("templates")
def templates(program: CheckedProgram, session: Session) -> dict[str, Any]:
    """The headline metric of every measure whose pairs are from several templates."""
    found = {}
    for m in program.measurements.values():
        measured: Measured = session.values[session.graph.key_of(m.name)]
        several = measured.bootstrap.units.from_templates > 1
        if m.axes or not several or not session.loaded.spec.shapes.text:
            continue
        metric: Metric = session.graph.vocabulary.metrics[headline(m.metrics)]
        arms = [arm for arm in measured if arm != CLEAN]
        if metric.word not in measured.withheld and arms:
            found[m.name] = _by_template(session, m.name, measured, metric, arms)
    return found


def _by_template(
    session: Session, name: str, measured: Measured, metric: Metric, arms: list[str]
) -> dict[str, Any]:
    units = measured.bootstrap.units
    sizes = [units.of_template.count(t) for t in range(len(units.templates))]
    values, spread, low, high = zip(
        *(_within(measured, metric, arms, t, n) for t, n in enumerate(sizes)), strict=True
    )
    value, below, above = torch.stack(values), torch.stack(low), torch.stack(high)
    for arm, down, up in zip(arms, below.unbind(1), above.unbind(1), strict=True):
        if bool((down > 0).any()) and bool((up < 0).any()):
            session.note(
                f"{name}.{arm}: {metric.word} is above 0 in {int((down > 0).sum())} templates and "
                f"below 0 in {int((up < 0).sum())}, so its mean speaks of neither"
            )
    between = _between(value, torch.stack(spread))
    rows = {arm: _short(column) for arm, column in zip(arms, value.unbind(1), strict=True)}
    return {
        "metric": metric.word,
        "templates": list(units.templates),
        "units": sizes,
        "arms": rows,
        "between": {
            arm: float(f"{each:.4g}") for arm, each in zip(arms, between.tolist(), strict=True)
        },
    }


def _within(
    measured: Measured, metric: Metric, arms: list[str], template: int, n: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A metric of each arm (c,) in one template, its variance over draws, and its interval."""
    units = measured.bootstrap.units
    mine = torch.tensor([units.of_template[unit] == template for unit in units.of_pair])
    columns = measured.columns_of(metric, arms)[mine]
    found = measured.values_of(metric, columns.mean(0)[None])[0]
    weights = torch.cat([w[:, mine] for w in measured.bootstrap.weights()])
    total = weights.sum(1, keepdim=True)
    size, k, c = columns.shape
    means = (weights @ columns.reshape(size, k * c) / total).reshape(-1, k, c)
    drawn = measured.values_of(metric, means)
    drawn = torch.where(total > 0, drawn, found)
    low, high = all_ends(drawn, found, Spread.of(n))
    return found, drawn.var(0) * n / max(1, n - 1), low, high


def _between(values: Tensor, variances: Tensor) -> Tensor:
    """The standard deviation between templates (c,) of values (t, c), beyond what draws explain.

    0 where fewer than two templates show a spread of their own; that of units which are equal but
    for rounding is none.
    """
    weights = torch.where(variances > 1e-6 * variances.amax(0), 1 / variances, 0.0)
    total = weights.sum(0)
    mean = (weights * values).sum(0) / total
    q = (weights * (values - mean).square()).sum(0)
    free = (weights > 0).sum(0) - 1
    scale = total - weights.square().sum(0) / total
    return torch.where(free < 1, 0.0, (q - free) / scale).clamp_min(0).sqrt()


def _short(values: Tensor) -> list[float | None]:
    return [float(f"{each:.4g}") if math.isfinite(each) else None for each in values.tolist()]
