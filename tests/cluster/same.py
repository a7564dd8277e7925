"""Whether two runs of one program left the same results, wherever they were made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from causaldsl.api import Run
from tests.engine.same import APART, RATIOS, records_apart


def apart(one: Run, other: Run, tolerance: float) -> Iterator[str]:
    """Where they differ, a line each: in numbers by more than a tolerance, in all else at all."""
    mine, theirs = (
        {k: v for k, v in run.results.model_dump().items() if k not in APART}
        for run in (one, other)
    )
    yield from records_apart(mine, theirs, "", RATIOS * tolerance)
    if one.results.notes != other.results.notes:
        yield f"notes: {one.results.notes} and {other.results.notes}"
    names = [[(b.measure, b.arm, b.metric) for b in run.by_pair] for run in (one, other)]
    if names[0] != names[1]:
        yield "other numbers by pair"
    for a, b in zip(one.by_pair, other.by_pair, strict=True):
        if not np.allclose(a.values, b.values, tolerance, tolerance, equal_nan=True):
            yield f"{a.measure} {a.arm} {a.metric}: {a.values} and {b.values}"
