"""A model in a local Hugging Face folder: its shapes and its fingerprint.

The fingerprint is a hash of the configuration, of the tokenizer, and of each weight file's name,
size, first MiB and last MiB. It is the same on every machine and takes milliseconds; it does not
notice a change that is confined to the middle of a weight file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import remembered_sha256
from causaldsl.model.json_files import read_object
from causaldsl.model.shapes import ModelDims, shapes_from_config
from causaldsl.model.tokenizer_files import FILES

_MIB = 1 << 20
_HEADER = 100 * _MIB
"""Bytes of a safetensors header, beyond which the format itself does not go."""
_NOT_THE_MODEL = ("transformers_version", "_name_or_path")


def folder_shapes(name: str, folder: Path, fingerprint: str | None = None) -> ModelDims:
    """The shapes of the model in ``folder``; the fingerprint is taken of its files if not given.

    Raises :class:`Mistake` if there is no readable configuration.
    """
    config = read_config(name, folder)
    fingerprint = fingerprint or folder_fingerprint(config, folder)
    try:
        return shapes_from_config(name, config, fingerprint)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Mistake(
            "unreadable-config",
            f"the configuration of {name} can't be read: {str(error)[:200]}",
            "its config.json may contradict itself; save_pretrained writes one that does not",
        ) from error


def read_config(name: str, folder: Path) -> dict[str, Any]:
    """``config.json`` of a folder. Raises :class:`Mistake` if it is missing or not JSON."""
    check_whole(name, folder)
    path = folder / "config.json"
    try:
        return read_object(path, "unreadable-config")
    except FileNotFoundError:
        raise Mistake(
            "model-absent",
            f"{name} is not a model folder: it has no config.json",
            "a folder written by save_pretrained is expected",
        ) from None


def check_whole(name: str, folder: Path) -> None:
    """Raise :class:`Mistake` for a folder with a LoRA adapter: its weights are only changes."""
    path = folder / "adapter_config.json"
    if not path.is_file():
        return
    try:
        base = str(read_object(path, "").get("base_model_name_or_path") or "")[:200]
    except (OSError, Mistake):
        base = ""
    raise Mistake(
        "lora-adapter",
        f"{name} is a LoRA adapter{f' of {base}' if base else ''}, not a whole model",
        "merge it first: PeftModel.from_pretrained(base, folder).merge_and_unload()"
        ".save_pretrained(other), and name that folder",
    )


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, as transformers picks them; empty if there are none."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if (folder / whole).is_file():
            return [folder / whole]
        index = folder / f"{whole}.index.json"
        if index.is_file():
            return _parts_of(index)
    for pattern in ("model*.safetensors", "*.safetensors", "pytorch_model*.bin"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    return []


def _parts_of(index: Path) -> list[Path]:
    """The files that an index of weights names, those that are there; none outside its folder."""
    try:
        names = set(read_object(index, "")["weight_map"].values())
        paths = [index.parent / name for name in sorted(names) if Path(name).name == name]
        return [path for path in paths if path.is_file()] if len(paths) == len(names) else []
    except (OSError, Mistake, ValueError, KeyError, TypeError, AttributeError):
        return []


def weight_count(folder: Path) -> int | None:
    """How many weights the files hold, as their headers say; None unless they are safetensors."""
    files = weight_files(folder)
    if not files or any(path.suffix != ".safetensors" for path in files):
        return None
    return sum(math.prod(shape) for path in files for shape in _tensor_shapes(path))


def _tensor_shapes(path: Path) -> Iterator[list[int]]:
    """A safetensors file begins with the length of a JSON header, in eight bytes.

    Raises:
        Mistake: if what follows is not such a header.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(_HEADER, path.stat().st_size):
                raise ValueError(f"its header would have {length} bytes")
            header = json.loads(file.read(length))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        if not all(isinstance(n, int) and n >= 0 for shape in shapes for n in shape):
            raise ValueError("a tensor has no shape")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"{path.name} is not a safetensors file: {str(error)[:200]}"
        raise Mistake("unreadable-weights", message, "fetch or save the model again") from None
    yield from shapes


def folder_fingerprint(config: Mapping[str, Any], folder: Path) -> str:
    """The hash described above, in hexadecimal."""
    kept = {key: value for key, value in config.items() if key not in _NOT_THE_MODEL}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    for name in FILES:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    for path in weight_files(folder):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(_ends(path))
    return digest.hexdigest()


def weights_digest(folder: Path) -> str:
    """A hash of every byte of the weights, the configuration and the tokenizer.

    A file's is taken once, until its size or a time changes.
    """
    digest = hashlib.sha256()
    others = [folder / name for name in ("config.json", *FILES)]
    for path in [*filter(Path.is_file, others), *weight_files(folder)]:
        digest.update(f"{path.name} {remembered_sha256(path)}\n".encode())
    return digest.hexdigest()


def _ends(path: Path) -> bytes:
    """The first and the last MiB of a file (they overlap in a small one)."""
    with path.open("rb") as file:
        first = file.read(_MIB)
        file.seek(max(0, path.stat().st_size - _MIB))
        return first + file.read(_MIB)
