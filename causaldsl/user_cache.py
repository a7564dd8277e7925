"""Where causaldsl keeps what it can make again, and how small files come there whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """``$CAUSALDSL_CACHE``, or else the place where this system keeps caches."""
    chosen = os.environ.get("CAUSALDSL_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("causaldsl"))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader sees all of it or none."""
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
