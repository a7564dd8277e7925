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
from causaldsl.model.folders import weight_files


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights by the parameters' names in the module, a tied one under each of its names."""

    module: KnownAnswers
    tensors: Mapping[str, Tensor]

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(**self.module.config)

    def rotation(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
        """The module's rotary tables as a function; None if it has none.

        It takes a tensor of the wanted dtype and position ids (1, T), and gives cosines and sines
        (1, T, d_head). Angles are position times frequency, in the frequencies' precision.
        """
        frequencies, scale = self.module.inv_freq, self.module.rotary_scaling
        if frequencies is None:
            return None

        def tables(like: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
            own = frequencies.to(ids.device)
            angles = ids.to(own.dtype)[..., None] * own
            angles = torch.cat((angles, angles), dim=-1)
            return (angles.cos() * scale).to(like.dtype), (angles.sin() * scale).to(like.dtype)

        return tables


def read_checkpoint(
    folder: Path, module: KnownAnswers, dtype: torch.dtype, device: str
) -> Checkpoint | None:
    """The weights in a folder; None if they can't be had without the module."""
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
    tensors: dict[str, Tensor] = {}
    for same in names.values():
        # Files of a model without its head leave out the first part of each name.
        written = [*same, *(name.partition(".")[2] for name in same)]
        read = next((found[name] for name in written if name in found), None)
        if read is None:
            return None
        # A file's own place in memory is not aligned, and goes on following the file.
        tensors |= dict.fromkeys(same, read.to(device, dtype, copy=True))
    return Checkpoint(module, tensors)
