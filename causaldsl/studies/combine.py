"""One number from several runs: a random-effects mean with its heterogeneity.

For estimates y_i with standard errors s_i, w_i = 1 / s_i^2, and m their mean so weighted::

    Q     = sum w_i (y_i - m)^2                     chi^2 with k - 1 degrees if all are the same
    I^2   = max(0, (Q - (k - 1)) / Q)               share of the spread that is no sampling error
    tau^2 = max(0, (Q - (k - 1)) / (sum w_i - sum w_i^2 / sum w_i))    (DerSimonian, Laird 1986)

The mean is weighted by v_i = 1 / (s_i^2 + tau^2). Of runs on pairs of their own its variance is
h / sum v_i, with t of k - 1 degrees, and h = max(1, sum v_i (y_i - mean)^2 / (k - 1)) (Hartung and
Knapp 2001; Roever, Knapp and Friede 2015).

Runs that share pairs share their sampling error, so more of them do not make it smaller, and all
that they differ by counts as tau. Then the interval's half width is the root of
(1.96 sum v_i s_i / sum v_i)^2 + (t_{k-1} tau)^2 sum v_i^2 / (sum v_i)^2: as if all errors were the
same. Q and I^2 are then too small, for s_i is larger than what can tell the runs apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student


@dataclass(frozen=True)
class Combined:
    """The random-effects mean of k estimates with its 95% interval."""

    k: int
    mean: float
    low: float
    high: float
    tau: float
    i2: float
    q: float
    p: float
    shared: bool
    """Whether the runs share pairs."""


def combined(
    estimates: Sequence[float], errors: Sequence[float], shared: bool = False
) -> Combined | None:
    """The mean of some estimates with these standard errors; None unless two have one above 0."""
    usable = [
        (y, s)
        for y, s in zip(estimates, errors, strict=True)
        if math.isfinite(y) and math.isfinite(s) and s > 0
    ]
    k = len(usable)
    if k < 2:
        return None
    y, s = (np.array(column) for column in zip(*usable, strict=True))
    w = 1 / s**2
    q = float((w * (y - (w * y).sum() / w.sum()) ** 2).sum())
    tau2 = max(0.0, (q - (k - 1)) / float(w.sum() - (w**2).sum() / w.sum()))
    if shared:
        tau2 = float(y.var(ddof=1))
    v = 1 / (s**2 + tau2)
    total = float(v.sum())
    mean, t = float((v * y).sum() / total), float(student.ppf(0.975, k - 1))
    if shared:
        between = tau2 * float((v**2).sum())
        half = math.hypot(1.96 * float((v * s).sum()), t * math.sqrt(between)) / total
    else:
        larger = max(1.0, float((v * (y - mean) ** 2).sum()) / (k - 1))
        half = t * math.sqrt(larger / total)
    i2 = max(0.0, (q - (k - 1)) / q) if q > 0 else 0.0
    p = float(chi2.sf(q, k - 1))
    return Combined(k, mean, mean - half, mean + half, math.sqrt(tau2), i2, q, p, shared)


def error_of(low: float, high: float, n: int, level: float = 0.95) -> float:
    """The standard error behind an interval at a level over n units; nan for one unit."""
    return (high - low) / (2 * float(student.ppf((1 + level) / 2, n - 1))) if n > 1 else math.nan
