"""A model's weights straight from its safetensors files, without building its module.

What is not in the files is known from an earlier run (``known_answers.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from causaldsl.engine.weights.known_answers import KnownAnswers
from causaldsl.engine.weights.places import Places
from causaldsl.model.folders import weight_files


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights by the parameters' names in the module, a tied one under each of its names."""

    module: KnownAnswers
    tensors: Mapping[str, Tensor]

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(**self.module.config)


def read_checkpoint(
    folder: Path,
    module: KnownAnswers,
    dtype: torch.dtype,
    places: Callable[[Mapping[str, Tensor]], Places],
) -> Checkpoint | None:
    """The weights in a folder, each on its place; None if they can't be had without the module."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = weight_files(folder)
    if not files or any(path.suffix != ".safetensors" for path in files):
        return None
    try:
        found = {name: tensor for path in files for name, tensor in load_file(path).items()}
    except (OSError, ValueError, SafetensorError):
        return None  # the module's reader says what is wrong
    names: dict[str, list[str]] = defaultdict(list)
    for name, first in module.parameters.items():
        names[first].append(name)
    read: dict[str, Tensor] = {}
    for first, same in names.items():
        # Files of a model without its head leave out the first part of each name.
        written = [*same, *(name.partition(".")[2] for name in same)]
        kept = next((found[name] for name in written if name in found), None)
        if kept is None:
            return None
        read[first] = kept
    place = places(read)
    tensors: dict[str, Tensor] = {}
    for first, same in names.items():
        # A file's own place in memory is not aligned, and goes on following the file.
        tensors |= dict.fromkeys(same, read[first].to(place(first), dtype, copy=True))
    return Checkpoint(module, tensors)
