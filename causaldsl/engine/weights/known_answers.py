"""A model's logits on a probe, known from an earlier run, so that its module need not be built.

Building it takes seconds, most of them for importing transformers. A forward pass of our own needs
the tensors and the configuration with its defaults. With the weights read alone it must give the
known answers on the probe again; if it does not, the module is built after all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.exact import exact
from causaldsl.model.cache import cache_folder, write_atomically
from causaldsl.model.shapes import ModelDims

_FORMAT = "1"


@dataclass(frozen=True, eq=False)
class KnownAnswers:
    """A module's description, and logits (2, d_vocab) after the last token of each probe prompt.

    ``answers`` are the module's, ``ours`` those of our forward pass. ``parameters`` gives for each
    parameter the first name of the same tensor. ``scaling`` is what an attention module multiplies
    q k^T by; ``inv_freq`` and ``rotary_scaling`` make its rotary tables, if it has them. ``alone``
    says whether the weights can be read without the module.
    """

    answers: Tensor
    ours: Tensor
    config: Mapping[str, Any]
    parameters: Mapping[str, str]
    scaling: Mapping[str, float]
    rotary_scaling: float = 1.0
    inv_freq: Tensor | None = None
    alone: bool = True


def describe(module: Any, answers: Tensor, ours: Tensor, alone: bool) -> KnownAnswers:
    """The description of a Hugging Face module, with both sides' logits on the probe."""
    first: dict[int, str] = {}
    parameters = {
        name: first.setdefault(id(tensor), name)
        for name, tensor in module.named_parameters(remove_duplicate=False)
    }
    parts = dict(module.named_modules())
    scaling = {
        name: float(part.scaling)
        for name, part in parts.items()
        if isinstance(getattr(part, "scaling", None), float)
    }
    rotary: Any = parts.get("model.rotary_emb")
    return KnownAnswers(
        answers,
        ours,
        json.loads(module.config.to_json_string(use_diff=False)),
        parameters,
        scaling,
        float(getattr(rotary, "attention_scaling", 1.0)),
        getattr(rotary, "inv_freq", None),
        alone,
    )


def probe_tokens(d_vocab: int, device: str | torch.device = "cpu") -> Tensor:
    """Two prompts of seven random tokens, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(d_vocab, (2, 7), generator=generator).to(device)


@torch.no_grad()
def answers_of(module: nn.Module, weight: Tensor) -> Tensor:
    """A module's logits (2, d_vocab) on the probe; ``weight`` (d_vocab, d_model) is its embedding.

    Raises :class:`RunFailure` if the module can't be run at all.
    """
    tokens = probe_tokens(len(weight), weight.device)
    try:
        with exact(weight.dtype):
            logits = cast(Tensor, module(tokens).logits)[:, -1]
    except Exception as error:  # transformers raises what it likes
        reason = " ".join(str(error).split())
        raise RunFailure(
            f"transformers can't run this model: {type(error).__name__}: {reason}",
            "its config.json may contradict itself; save_pretrained writes one that does not",
        ) from error
    check_numbers(logits)
    return logits


def check_numbers(logits: Tensor) -> None:
    """Raise :class:`RunFailure` for logits that are not numbers; -inf stands for "never"."""
    if bool((logits.isnan() | (logits == float("inf"))).any()):
        raise RunFailure(
            "the model's logits are not numbers (NaN or infinite), with nothing patched",
            "its weights may be damaged, or too large for this dtype: try another `--dtype`",
        )


def recall(shapes: ModelDims, dtype: torch.dtype, device: str) -> KnownAnswers | None:
    """The answers that an earlier run has kept for this model; None if there are none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(_place(shapes, dtype, device), framework="pt") as file:
            said = json.loads(file.metadata()["module"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = KnownAnswers(**said, **tensors)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError):
        return None
    right = (2, shapes.d_vocab)
    return found if found.answers.shape == right == found.ours.shape else None


def remember(shapes: ModelDims, dtype: torch.dtype, device: str, what: KnownAnswers) -> None:
    """Keep answers for later runs; where the cache can't be written to, nothing is kept."""
    from safetensors.torch import save

    kept = {
        name: value.detach().cpu().contiguous()
        for name, value in vars(what).items()
        if isinstance(value, Tensor)
    }
    said = {name: value for name, value in vars(what).items() if name not in kept}
    place = _place(shapes, dtype, device)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, save(kept, {"module": json.dumps(said)}))
    except OSError:
        return


def _place(shapes: ModelDims, dtype: torch.dtype, device: str) -> Path:
    """A file per model, dtype, kind of device, and version of what computed the answers."""
    versions = [f"{library} {version(library)}" for library in ("torch", "transformers")]
    rounding = f"tf32 {torch.backends.cuda.matmul.allow_tf32}"
    kind = torch.device(device).type
    known = "\n".join([_FORMAT, shapes.fingerprint, str(dtype), kind, rounding, *versions])
    return cache_folder() / "references" / hashlib.sha256(known.encode()).hexdigest()
