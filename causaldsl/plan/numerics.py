"""What the values of a run depend on, from its settings and its model.

Not in ``settings.py``, which the command line reads before it knows what is to be done.
"""

from __future__ import annotations

from importlib.metadata import version

from causaldsl.graph.keys import Numerics
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.folders import weights_digest
from causaldsl.plan.settings import Settings

_LIBRARIES = ("torch", "transformers", "transformer-lens", "scikit-learn")
"""Those that compute values: probes are scikit-learn's, whole passes the other three's."""


def numerics_of(settings: Settings, model: ModelSpec | None) -> Numerics:
    """What the values of a run of this model depend on. Its weights must be there."""
    folder = model.path if model is not None else None
    return Numerics(
        backend=settings.backend,
        dtype=settings.dtype,
        device=settings.device.partition(":")[0],
        tf32=settings.tf32,
        seed=settings.seed,
        resamples=settings.resamples,
        weights=weights_digest(folder) if folder is not None else "",
        libraries=tuple(f"{name} {version(name)}" for name in _LIBRARIES),
    )
