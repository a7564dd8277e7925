"""Random dictionaries of the width of the tiny models, in SAELens layout, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

WIDTH, COUNT, K = 32, 48, 6


def write_dictionary(folder: Path, kind: str, seed: int = 0, **about: Any) -> dict[str, Tensor]:
    """Write one; its tensors, in single precision as they are kept. ``about`` is its metadata.

    ``kind`` is standard, jumprelu, topk or transcoder. Thresholds are away from zero.
    """
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    tensors = {
        "W_enc": 0.3 * drawn(WIDTH, COUNT),
        "b_enc": 0.1 * drawn(COUNT),
        "W_dec": 0.3 * drawn(COUNT, WIDTH),
        "b_dec": 0.1 * drawn(WIDTH),
    }
    if kind == "jumprelu":
        tensors["threshold"] = drawn(COUNT).abs()
    config = {"architecture": kind, "d_in": WIDTH, "d_sae": COUNT, "metadata": about}
    own = {"topk": {"k": K}, "transcoder": {"d_out": WIDTH, "apply_b_dec_to_input": False}}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({**config, **own.get(kind, {})}))
    return tensors
