"""GGUF files: converted once to a Hugging Face folder in the cache, under the file's SHA-256.

The conversion needs torch, so it runs as a process of its own.
"""

from __future__ import annotations

from pathlib import Path

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import Progress, build_once, cache_folder
from causaldsl.model.conversion import run_converter

CONVERSION = 1
"""Raised whenever the conversion gives other files for the same GGUF."""


def converted_folder(digest: str) -> Path:
    """Where the conversion of the GGUF file with this SHA-256 is, or will be."""
    return cache_folder() / "models" / f"gguf-{digest[:16]}-v{CONVERSION}"


def gguf_fingerprint(digest: str) -> str:
    """The hash of the file itself, which holds configuration, tokenizer and weights."""
    return f"gguf-{digest}-v{CONVERSION}"


def ensure_converted(gguf: Path, digest: str, progress: Progress) -> Path:
    """The Hugging Face folder made from a GGUF file, converting it if that was not done yet.

    Raises :class:`Mistake` if the file is not GGUF, or holds what transformers can't read.
    """
    target = converted_folder(digest)
    build_once(target, lambda folder: convert(gguf, folder, progress))
    return target


def convert(gguf: Path, folder: Path, progress: Progress) -> None:
    """Write config.json, model.safetensors and tokenizer.json of a GGUF file into ``folder``."""
    with gguf.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise Mistake("not-gguf", f"{gguf.name} is not a GGUF file")
    progress(f"converting {gguf.name} (once)")
    failed = run_converter("causaldsl.engine.weights.convert", gguf, folder)
    if failed is not None:
        raise Mistake(
            "conversion-failed",
            f"cannot convert {gguf.name}: {failed}",
            "the file may be damaged, of an architecture that transformers does not read from GGUF,"
            " or too large for this machine's memory",
        )
