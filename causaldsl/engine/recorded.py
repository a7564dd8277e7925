"""Recorded activations, found again by the read that they were recorded for."""

from __future__ import annotations

import torch
from torch import Tensor

from causaldsl.engine.edits import Read
from causaldsl.model.sites import Site


class RecordedActivations:
    """What a clean run recorded: one (n, k, d) tensor for each read."""

    def __init__(self) -> None:
        self._values: dict[Site, list[tuple[Tensor, Tensor]]] = {}

    def add(self, read: Read, value: Tensor) -> None:
        self._values.setdefault(read.site, []).append((read.positions, value))

    def find(self, read: Read) -> Tensor:
        """The value (n, k, d) recorded here. Raises ``LookupError`` if there is none."""
        for positions, value in self._values.get(read.site, ()):
            if positions is read.positions or torch.equal(positions, read.positions):
                return value
        raise LookupError(f"{read.site} was not recorded at these positions in the clean run")
