"""Where a run's files go: written beside the final folder, then moved into place at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causaldsl.diagnostics import RunFailure


@contextmanager
def run_folder(final: Path) -> Iterator[Path]:
    """A new folder to write into, which becomes ``final`` when the block ends without an error.

    What stood at ``final`` before is replaced only then, and only if a run made it. If the block
    raises, nothing is left.
    """
    if final.exists() and not _replaceable(final):
        raise RunFailure(
            f"{final} exists and holds something other than a run",
            "give another folder with --out",
        )
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    except OSError as error:
        raise RunFailure(
            f"can't write to {final.parent}: {error.strerror}", "give another folder with --out"
        ) from None
    try:
        yield draft
        draft.chmod(0o755)
        if final.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{final.name}.old.", dir=final.parent))
            os.replace(final, old / "run")
            os.replace(draft, final)
            shutil.rmtree(old)
        else:
            os.replace(draft, final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / "results.json").is_file())
