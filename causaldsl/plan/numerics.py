"""Keys of values: equal keys mean equal values, no matter who computed them and when.

An operation's own key says what is computed: its word, options, places, inputs, the words' package
and the model's fingerprint. Its value also depends on how that was done. Everything that may change
a value enters its key, so that a value found under a key can stand for one computed anew:

- the ``seed`` that is added to every seed, and the number of bootstrap draws;
- backend, dtype, kind of device, TF32: they round differently;
- the weights, byte by byte (the fingerprint of a folder looks at parts of large files only);
- ``NUMERICS`` and the versions of the libraries that compute them.

Memory, batches and threads do not enter: no value depends on them beyond rounding.

Not in ``settings.py``, which the command line reads before it knows what is to be done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version

from causaldsl.model.catalog import ModelSpec
from causaldsl.model.folders import weights_digest
from causaldsl.plan.settings import Settings

NUMERICS = 1
"""Raised whenever the same operation with the same settings gives another value than before."""

LIBRARIES = ("torch", "transformers", "transformer-lens", "scikit-learn", "numpy", "scipy")
"""Those that compute values: passes (the first three), probes, and intervals."""


@dataclass(frozen=True)
class Numerics:
    """How values are computed, as far as they depend on it."""

    backend: str
    dtype: str
    device: str
    tf32: bool
    seed: int
    resamples: int
    weights: str
    libraries: tuple[str, ...]
    numerics: int = NUMERICS

    def key_of(self, operations: Iterable[str]) -> str:
        """One key, hexadecimal digits, for the values of the operations with these keys."""
        content = json.dumps([sorted(operations), asdict(self)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


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
        libraries=tuple(f"{name} {version(name)}" for name in LIBRARIES),
    )
