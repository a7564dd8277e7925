"""The `causaldsl` command; `python -m causaldsl` is the same."""

import atexit
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from causaldsl.cli import main
from causaldsl.process import owned


def command() -> NoReturn:
    """Run one command as a process, which SIGTERM and SIGHUP stop as Ctrl-C does."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP; nohup ignores it
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, or no text stream
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with owned():
            code = main()
    except SystemExit as stop:  # argparse, after its help or its complaint
        code = stop.code if isinstance(stop.code, int) else 0
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process at once.

    Without this, torch and the model are freed one object at a time, a third of a second for memory
    that the system takes back anyway.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, or nobody reads it
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    command()
