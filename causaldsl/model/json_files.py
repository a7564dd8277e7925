"""Reading the JSON files of a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from causaldsl.diagnostics import Mistake

MOST = 64 * 2**20
"""Bytes of such a file that are read; tokenizers, which are larger, have a reader of their own."""


def read_object(path: Path, code: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises :class:`FileNotFoundError` if there is no such file, and :class:`Mistake` with this code
    if it holds anything else.
    """
    try:
        size = path.stat().st_size
        if size > MOST:
            raise ValueError(f"it has {size} bytes, where {MOST} are read")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise Mistake(code, f"cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise Mistake(code, f"{path} does not hold a JSON object")
    return found
