"""Keys of values: equal keys mean equal values, whoever computed them and when.

An operation's own key says what is computed: its word, options, places, inputs, the words' package
and the model's fingerprint. Its value also depends on how that was done. Whatever may change a
value enters its key, so that a value that is found under a key can be taken for one's own:

- the ``seed`` that is added to every seed, and the number of bootstrap draws;
- backend, dtype, kind of device, TF32: they round differently;
- the weights, byte by byte (the fingerprint of a folder looks at parts of large files only);
- ``NUMERICS`` and the versions of the libraries that compute them.

Memory, batches and threads do not enter: no value depends on them beyond rounding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

NUMERICS = 1
"""Raised whenever the same operation with the same settings gives another value than before."""


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

    def value_key(self, operation: str) -> str:
        """The key of the value of the operation with this key, in hexadecimal digits."""
        return self.key_of([operation])

    def key_of(self, operations: Iterable[str]) -> str:
        """One key for the values of several operations together."""
        content = json.dumps([sorted(operations), asdict(self)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]
