"""A model's logits on a probe, known from an earlier run, so that its module need not be built.

Building it takes seconds, most of them for importing transformers. A forward pass of our own needs
the tensors and the configuration with its defaults. With the weights read alone it must give the
known answers on the probe again; if it does not, the module is built after all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.exact import exact
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.folders import weights_digest
from causaldsl.user_cache import cache_folder, write_atomically

_FORMAT = "3"
_TENSORS = ("inv_freq", "embed_positions", "embed_scale")
_NUMBERS = ("attention_scaling",)
"""Ends of the names of what a module keeps beside its parameters."""
PROBED_WINDOW = 4
"""What the windows of attention are narrowed to for a probe, so that a short prompt shows them."""


@dataclass(frozen=True, eq=False)
class Tables:
    """What a module works out from its configuration and keeps: frequencies of its rotary
    embeddings and what multiplies them, GPT-J's table of sines, the scale of Gemma's embedding.

    By the last part of their names: no family has two that differ.
    """

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class KnownAnswers:
    """A module's description, and its logits (2 or 4, d_vocab) after the last token of each probe
    prompt: as it is, and if it has windows, with these narrowed.

    ``answers`` are the module's, ``ours`` those of our forward pass. ``parameters`` gives for each
    parameter the first name of the same tensor. ``alone`` says whether the weights can be read
    without the module.
    """

    answers: Tensor
    ours: Tensor
    config: Mapping[str, Any]
    parameters: Mapping[str, str]
    tables: Tables
    alone: bool = True


def describe(module: Any, answers: Tensor, ours: Tensor, alone: bool) -> KnownAnswers:
    """The description of a Hugging Face module, with both sides' logits on the probe."""
    first: dict[int, str] = {}
    parameters = {
        name: first.setdefault(id(tensor), name)
        for name, tensor in module.named_parameters(remove_duplicate=False)
    }
    return KnownAnswers(
        answers,
        ours,
        json.loads(module.config.to_json_string(use_diff=False)),
        parameters,
        tables_of(module),
        alone,
    )


def tables_of(module: nn.Module) -> Tables:
    tensors = {
        name.rpartition(".")[2]: buffer.detach()
        for name, buffer in module.named_buffers()
        if name.endswith(_TENSORS)
    }
    numbers = {
        name: float(value)
        for part in module.modules()
        for name, value in vars(part).items()
        if name.endswith(_NUMBERS) and isinstance(value, float | int)
    }
    return Tables(tensors, numbers)


def probe_tokens(d_vocab: int, device: str | torch.device = "cpu") -> Tensor:
    """Two prompts of seven random tokens, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(d_vocab, (2, 7), generator=generator).to(device)


@torch.no_grad()
def answers_of(module: nn.Module, weight: Tensor) -> Tensor:
    """A module's logits on the probe, (2, d_vocab), or (4, d_vocab) if it has windows.

    ``weight`` (d_vocab, d_model) is its embedding. Raises :class:`RunFailure` if the module can't
    be run at all.
    """
    tokens = probe_tokens(len(weight), weight.device)
    with runnable(), exact(weight.dtype):
        logits: Tensor = cast(Any, module)(tokens).logits[:, -1]
        with _narrowed(module) as found:
            if found:
                logits = torch.cat((logits, cast(Any, module)(tokens).logits[:, -1]))
    check_numbers(logits)
    return logits


@contextmanager
def runnable() -> Iterator[None]:
    """Raise :class:`RunFailure` for a module that can't be run at all."""
    try:
        yield
    except Exception as error:  # transformers raises what it likes
        reason = " ".join(str(error).split())
        raise RunFailure(
            f"transformers can't run this model: {type(error).__name__}: {reason}",
            "its config.json may contradict itself; save_pretrained writes one that does not",
        ) from error


def check_numbers(logits: Tensor) -> None:
    """Raise :class:`RunFailure` for logits that are not numbers; -inf stands for "never"."""
    if bool((logits.isnan() | (logits == float("inf"))).any()):
        raise RunFailure(
            "the model's logits are not numbers (NaN or infinite), with nothing patched",
            "its weights may be damaged, or too large for this dtype: try another `--dtype`",
        )


@contextmanager
def _narrowed(module: nn.Module) -> Iterator[bool]:
    """With each window of its attention narrowed; says whether it has any.

    Masks are made of the configuration in each pass, but for GPT-Neo's, which its attention keeps.
    """
    configs = {id(c): c for part in module.modules() if (c := getattr(part, "config", None))}
    sliding = [c for c in configs.values() if getattr(c, "sliding_window", None)]
    local: list[Any] = [
        part
        for part in module.modules()
        if getattr(part, "attention_type", "") == "local" and "bias" in part._buffers
    ]
    before = [config.sliding_window for config in sliding], [part.bias for part in local]
    for config in sliding:
        config.sliding_window = PROBED_WINDOW
    for part in local:
        part.bias = torch.ones_like(part.bias).tril().triu(1 - PROBED_WINDOW)
    try:
        yield bool(sliding or local)
    finally:
        for config, window in zip(sliding, before[0], strict=True):
            config.sliding_window = window
        for part, mask in zip(local, before[1], strict=True):
            part.bias = mask


def recall(spec: ModelSpec, dtype: torch.dtype, device: str) -> KnownAnswers | None:
    """The answers that an earlier run has kept for these very weights; None if there are none."""
    from safetensors import SafetensorError, safe_open

    shapes = spec.shapes
    try:
        with safe_open(_place(spec, dtype, device), framework="pt") as file:
            said = json.loads(file.metadata()["module"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        answers, ours = tensors.pop("answers"), tensors.pop("ours")
        found = KnownAnswers(answers, ours, tables=Tables(tensors, said.pop("numbers")), **said)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError):
        return None
    right = ((2, shapes.d_vocab), (4, shapes.d_vocab))
    return found if found.answers.shape in right and ours.shape == answers.shape else None


def remember(spec: ModelSpec, dtype: torch.dtype, device: str, what: KnownAnswers) -> None:
    """Keep answers for later runs; where the cache can't be written to, nothing is kept."""
    from safetensors.torch import save

    tensors = {**what.tables.tensors, "answers": what.answers, "ours": what.ours}
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    said = {"config": what.config, "parameters": what.parameters, "alone": what.alone}
    said["numbers"] = what.tables.numbers
    place = _place(spec, dtype, device)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, save(kept, {"module": json.dumps(said)}))
    except OSError:
        return


def _place(spec: ModelSpec, dtype: torch.dtype, device: str) -> Path:
    """A file per model, dtype, kind of device, and version of what computed the answers.

    The hash of all weights is part of it: answers of other weights never take their place.
    """
    weights = "" if spec.path is None else weights_digest(spec.path)
    versions = [f"{library} {version(library)}" for library in ("torch", "transformers")]
    rounding = f"tf32 {torch.backends.cuda.matmul.allow_tf32}"
    kind = torch.device(device).type
    known = "\n".join(
        [_FORMAT, spec.shapes.fingerprint, weights, str(dtype), kind, rounding, *versions]
    )
    return cache_folder() / "references" / hashlib.sha256(known.encode()).hexdigest()
