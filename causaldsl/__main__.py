"""The `causaldsl` command; `python -m causaldsl` is the same."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from causaldsl.cli import main


def command() -> NoReturn:
    """Run one command as a process."""
    leave(main())


def leave(code: int) -> NoReturn:
    """End the process at once.

    Without this, torch and the model are freed one object at a time, a third of a second for memory
    that the system takes back anyway.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # `main` has said so
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    command()
