"""What is compared with what; every function makes one comparison of the sizes it is given."""

from __future__ import annotations

from collections.abc import Callable

from bench import Bench
from random_models import SHAPES
from turns import Comparison

from comparisons.attribution import attribution
from comparisons.audits import audit
from comparisons.das import (
    das_fit,
    das_step_few,
    das_step_many,
    das_step_of,
    seeds,
    seeds_fit,
)
from comparisons.paths import path_scan
from comparisons.sweeps import end_sweep, grid_sweep, head_sweep, some_heads

COMPARISONS: dict[str, Callable[[Bench], Comparison]] = {
    "das_step_64": das_step_few,
    "das_step_512": das_step_many,
    "das_fit": das_fit,
    "seeds": seeds,
    "seeds_fit": seeds_fit,
    "end_sweep": end_sweep,
    "grid_sweep": grid_sweep,
    "head_sweep": head_sweep,
    "some_heads": some_heads,
    "path_scan": path_scan,
    "attribution": attribution,
    "audit": audit,
    **{f"das_step_{model}": das_step_of(model) for model in SHAPES},
}
