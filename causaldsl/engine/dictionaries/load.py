"""A dictionary's weights, from its files to a device. No pickle is run: only tensors are read."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.dictionaries.code import Code
from causaldsl.engine.session import Session
from causaldsl.engine.upcast import upcast_dtype
from causaldsl.model.cache import remembered_sha256
from causaldsl.model.dictionaries.form import Dictionary, Form


def code_of(session: Session, dictionary: Dictionary) -> Code:
    """The weights of a dictionary, read once."""
    loaded = session.loaded

    def read() -> Code:
        return read_code(dictionary.form, upcast_dtype(loaded.dtype), loaded.device)

    found: Code = session.cached(f"dictionary {dictionary.digest}", read)
    return found


def read_code(
    form: Form, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Code:
    """The weights of a dictionary's files.

    Raises:
        RunFailure: if a tensor is missing, of another size, or not finite, and if the file is not
            the one that the program was checked with: its values would be kept as that one's.
    """
    path = form.folder / form.weights
    kept = _tensors(path)
    if form.sha256 and remembered_sha256(path) != form.sha256:
        message = f"{path.parent.name}/{path.name} has changed since the program was checked"
        raise RunFailure(message, "run it again when it is whole; workers need the same file")
    found = {name: _tensor(form, path, kept, name).to(device, dtype) for name in form.tensors}
    if "decoder_scale" not in found:
        _check_unscaled(path, kept)
    W_enc, b_enc, rows = found["W_enc"], found["b_enc"], found["W_dec"]
    lengths = rows.norm(dim=-1)
    some = torch.where(lengths > 0, lengths, torch.ones_like(lengths))  # a dead one writes nothing
    if form.unit_rows and not torch.allclose(lengths, torch.ones_like(lengths)):
        W_enc, b_enc, rows = W_enc * lengths, b_enc * lengths, rows / some[:, None]
    sizes = None
    if form.rescaled:
        sizes, rows = lengths, rows / some[:, None]
    if "decoder_scale" in found:
        rows = rows * found["decoder_scale"][:, None]
    gate = (found["r_mag"].exp(), found["b_mag"]) if "r_mag" in found else None
    return Code(
        form,
        W_enc,
        b_enc,
        rows / form.scale,
        found["b_dec"],
        found.get("threshold"),
        gate,
        sizes,
        found.get("W_skip"),
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file, or one with code in it, makes of it
        reason = " ".join(str(error).split())[:200]
        message = f"{path.parent.name}/{path.name} can't be read: {reason}"
        raise RunFailure(message, "fetch or save it again") from None
    if not isinstance(found, dict):
        message = f"{path.parent.name}/{path.name} holds no tensors by name"
        raise RunFailure(message, "save a dictionary's state_dict")
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _tensor(form: Form, path: Path, kept: dict[str, Tensor], name: str) -> Tensor:
    stored, size = form.tensors[name], form.size(name)
    value, where = kept.get(stored.name), f"`{stored.name}` of {path.parent.name}/{path.name}"
    if value is None:
        raise RunFailure(f"{where} is missing", "fetch or save it again")
    if stored.may_be_one and value.numel() == 1:
        value = value.reshape(()).expand(size)
    value = value.T if stored.transposed else value
    if tuple(value.shape) != size:
        raise RunFailure(f"{where} has shape {list(value.shape)}, not {list(size)}")
    if not bool(value.isfinite().all()):
        raise RunFailure(f"{where} holds numbers that are not finite", "fetch or save it again")
    return value.double().exp() if stored.is_log else value


def _check_unscaled(path: Path, kept: dict[str, Tensor]) -> None:
    scale = kept.get("scaling_factor")
    if scale is not None and not bool((scale == 1).all()):
        raise RunFailure(
            f"{path.parent.name}/{path.name} has a `scaling_factor` that its configuration does "
            "not put to use",
            "say `finetuning_scaling_factor: true` there, if it was trained so",
        )
