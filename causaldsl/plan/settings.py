"""How a run is to be done: the choices that the command line and the Python functions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from causaldsl.diagnostics import Mistake, suggest
from causaldsl.model.dtypes import DTYPES

if TYPE_CHECKING:
    from causaldsl.model.catalog import ModelSpec

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0 if unknown)."""
BACKENDS = ("cone", "hooks")
USUAL = "float32"
"""The dtype where nobody says another."""
SEEDS = 2**31
"""Seeds lie below this, which every generator takes."""


@dataclass(frozen=True)
class Settings:
    """Choices of a run: which backend to prefer, the seed added to every seed, bootstrap draws.

    No number depends on ``memory``.

    Raises:
        Mistake: for a backend or dtype that does not exist, or a number out of range.
    """

    backend: str = "cone"
    device: str = "cpu"
    dtype: str = USUAL
    seed: int = 0
    resamples: int = 2000
    tf32: bool = False
    """Whether an NVIDIA GPU may round the factors of float32 products to 10 bits."""
    memory: int | None = None
    """Bytes that clean runs may keep in memory; None for a share of what is free."""

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("backend", self.backend, BACKENDS),
            ("dtype", self.dtype, DTYPES),
        ):
            if name not in known:
                help = suggest(name, known, f"{kind}s")
                raise Mistake(f"unknown-{kind}", f"unknown {kind} {name}", help)
        if not 0 <= self.seed < SEEDS:
            raise Mistake("bad-seed", f"a seed is a whole number from 0 to {SEEDS - 1}")
        if self.memory is not None and self.memory <= 0:
            raise Mistake("bad-memory", f"{self.memory} bytes are no memory to keep runs in")

    def of_program(self, model: ModelSpec | None, dtype: str | None) -> Settings:
        """These settings in the program's dtype, where ``dtype`` asks for none."""
        if dtype is not None or model is None or model.dtype is None:
            return self
        return replace(self, dtype=model.dtype)
