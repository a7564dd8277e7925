"""What a model's own module answers to a probe, remembered between runs.

With it a forward pass that is not the module's can be held against the module's without building
it. If weights change and the fingerprint does not notice, the answers no longer agree: whoever
compares then builds the module.
"""

from __future__ import annotations

import hashlib
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from causaldsl.engine.exact import exact
from causaldsl.model.cache import cache_folder
from causaldsl.model.shapes import Shapes


def probe_tokens(d_vocab: int, device: str | torch.device = "cpu") -> Tensor:
    """Two prompts of seven random tokens, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(d_vocab, (2, 7), generator=generator).to(device)


@torch.no_grad()
def answers(module: Any, d_vocab: int, dtype: torch.dtype, device: str | torch.device) -> Tensor:
    """A module's logits (2, d_vocab) behind the last token of the probe's prompts."""
    with exact(dtype):
        return cast(Tensor, module(probe_tokens(d_vocab, device)).logits)[:, -1]


def recall(shapes: Shapes, dtype: torch.dtype, device: str) -> Tensor | None:
    """The answers of this model's module in an earlier run, if there was one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(_place(shapes, dtype, device))["logits"]
    except (OSError, KeyError, SafetensorError):
        return None


def remember(shapes: Shapes, dtype: torch.dtype, device: str, logits: Tensor) -> None:
    """Keep a module's answers; where the cache can't be written to, nothing is kept."""
    from safetensors.torch import save

    place = _place(shapes, dtype, device)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.write(save({"logits": logits.cpu().contiguous()}))
        Path(file.name).replace(place)
    except OSError:
        return


def _place(shapes: Shapes, dtype: torch.dtype, device: str) -> Path:
    """A file for each model, dtype and kind of device, and version of what computed it."""
    versions = [f"{library} {version(library)}" for library in ("torch", "transformers")]
    known = "\n".join([shapes.fingerprint, str(dtype), torch.device(device).type, *versions])
    return cache_folder() / "references" / hashlib.sha256(known.encode()).hexdigest()
