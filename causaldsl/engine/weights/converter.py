"""What makes a command of a conversion: ``model/conversion.py`` runs it as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path


def command(
    module: str, what: str, convert: Callable[[Path, Path], None], arguments: list[str]
) -> int:
    """Run a conversion; a failure becomes one line on stderr and exit status 1."""
    if len(arguments) != 2:
        print(f"usage: python -m {module} {what} FOLDER", file=sys.stderr)
        return 2
    source, folder = (Path(argument).absolute() for argument in arguments)
    try:
        convert(source, folder)
    except Exception as error:  # whatever transformers raises has to fit into the parent's message
        print(" ".join(f"{type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    return 0
