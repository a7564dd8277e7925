"""A model's weights straight from its safetensors files, without its module.

Importing transformers and building the module takes ten times as long as reading the weights. The
cone needs only tensors and the configuration. That these were read rightly is not taken on trust:
the backend compares logits with the module's own (``reference.py``) before it serves anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from causaldsl.model.folders import weight_files


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """``config.json`` as attributes, without the defaults that transformers knows, and tensors.

    Tensors go by the parameters' names in the Hugging Face module, a tied unembedding under its own
    name too.
    """

    config: SimpleNamespace
    tensors: Mapping[str, Tensor]

    @property
    def embed(self) -> Tensor:
        """(d_vocab, d_model)."""
        return next(self.tensors[name] for name in _EMBEDDINGS if name in self.tensors)


_EMBEDDINGS = ("model.embed_tokens.weight", "transformer.wte.weight")


def read_checkpoint(folder: Path, dtype: torch.dtype, device: str) -> Checkpoint | None:
    """Everything in a folder's safetensors files; None if it holds others or they can't be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = weight_files(folder)
    if not files or any(path.suffix != ".safetensors" for path in files):
        return None
    tensors: dict[str, Tensor] = {}
    try:
        config = SimpleNamespace(**json.loads((folder / "config.json").read_text("utf-8")))
        for path in files:
            # A file's own place in memory is not aligned, and goes on following the file.
            for name, tensor in load_file(path).items():
                tensors[name] = tensor.to(device, dtype, copy=True)
    except (OSError, ValueError, TypeError, SafetensorError):
        return None  # the module's reader says what is wrong
    return Checkpoint(config, _named(config, tensors))


def _named(config: SimpleNamespace, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """By the module's names: GPT-2's first files leave out their prefix, and tied weights."""
    if "wte.weight" in tensors:
        tensors = {f"transformer.{name}": tensor for name, tensor in tensors.items()}
    tied = getattr(config, "tie_word_embeddings", "lm_head.weight" not in tensors)
    for name in _EMBEDDINGS:
        if tied and name in tensors:
            tensors["lm_head.weight"] = tensors[name]
    return tensors
