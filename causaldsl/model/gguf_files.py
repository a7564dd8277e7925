"""GGUF files: converted once to a Hugging Face folder in the cache, under the file's SHA-256.

The conversion needs torch, so it runs as a process of its own.
"""

from __future__ import annotations

import struct
from pathlib import Path

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import Progress
from causaldsl.model.conversion import run_converter
from causaldsl.model.manifest import made
from causaldsl.user_cache import cache_folder

CONVERSION = 1
"""Raised whenever the conversion gives other files for the same GGUF."""


def converted_folder(digest: str) -> Path:
    """Where the conversion of the GGUF file with this SHA-256 is, or will be."""
    return cache_folder() / "models" / f"gguf-{digest[:16]}-v{CONVERSION}"


def gguf_fingerprint(digest: str) -> str:
    """The hash of the file itself, which holds configuration, tokenizer and weights."""
    return f"gguf-{digest}-v{CONVERSION}"


def ensure_converted(gguf: Path, digest: str, progress: Progress, fully: bool = False) -> Path:
    """The Hugging Face folder made from a GGUF file, converting it if that was not done yet, or if
    what was converted is damaged.

    Raises :class:`Mistake` if the file is not GGUF, or holds what transformers can't read.
    """
    target = converted_folder(digest)
    return made(target, lambda folder: convert(gguf, folder, progress), gguf.name, progress, fully)


def convert(gguf: Path, folder: Path, progress: Progress) -> None:
    """Write config.json, model.safetensors and tokenizer.json of a GGUF file into ``folder``."""
    check_header(gguf)
    progress(f"converting {gguf.name} (once)")
    failed = run_converter("causaldsl.engine.weights.convert", gguf, folder)
    if failed is not None:
        raise Mistake(
            "conversion-failed",
            f"cannot convert {gguf.name}: {failed}",
            "the file may be damaged, of an architecture that transformers does not read from GGUF,"
            " or too large for this machine's memory",
        )


_VERSIONS = (2, 3)
_TENSOR, _FIELD = 24, 13
"""Bytes that the smallest description of a tensor, and the smallest field, take."""


def check_header(gguf: Path) -> None:
    """Raise :class:`Mistake` for a file that is not GGUF, or that says it holds more than it can.

    The header is the magic, a version, and how many tensors and fields there are.
    """
    with gguf.open("rb") as file:
        head = file.read(24)
    if not head.startswith(b"GGUF"):
        raise Mistake("not-gguf", f"{gguf.name} is not a GGUF file")
    if len(head) < 24:
        raise Mistake("not-gguf", f"{gguf.name} ends within its header", "fetch it again")
    version, tensors, fields = struct.unpack("<IQQ", head[4:])
    if version not in _VERSIONS:
        message = f"{gguf.name} is of version {version} of GGUF"
        raise Mistake("not-gguf", message, f"versions {_VERSIONS[0]} and {_VERSIONS[1]} are read")
    size = gguf.stat().st_size
    if 24 + tensors * _TENSOR + fields * _FIELD > size:
        message = f"{gguf.name} says it holds {tensors} tensors and {fields} fields"
        raise Mistake("not-gguf", message, f"that is more than fits into its {size} bytes")
