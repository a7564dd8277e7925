"""What code of another package raises is said to be its own."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from causaldsl.diagnostics import Mistake, RunFailure
from causaldsl.vocabulary.register import package_name, package_of

_KEPT = (RunFailure, Mistake, MemoryError, torch.OutOfMemoryError)
"""What has a message of its own."""


def fault(cls: type, word: str, reason: str) -> RunFailure:
    """A failure for which a word's package is answerable."""
    help = "the package declares or evaluates it wrongly; docs/extending.md says what is expected"
    return RunFailure(f"`{word}` of the package {package_of(cls)}: {reason}", help)


def version_of(x: Tensor) -> int:
    """Counts what was written into a tensor in place, as far as torch tells."""
    return 0 if x.is_inference() else x._version


@contextmanager
def answerable(cls: type, word: str) -> Iterator[None]:
    """What code of another package raises becomes a failure that names its word and line."""
    try:
        yield
    except _KEPT:
        raise
    except (Exception, SystemExit) as error:
        if not package_of(cls):
            raise
        where = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if package_name(cls) in Path(frame.filename).parts
        ]
        place = f" ({Path(where[-1].filename).name}, line {where[-1].lineno})" if where else ""
        raise fault(cls, word, f"{type(error).__name__}: {error}{place}") from error
