"""The option `--memory`, shared by the commands that run a program or plan a run."""

from __future__ import annotations

import argparse

from causaldsl.diagnostics import Mistake
from causaldsl.plan.memory import parse_bytes


def add_memory(command: argparse.ArgumentParser) -> None:
    """Gives `options.memory` in bytes, or None."""
    command.add_argument(
        "--memory",
        type=_size,
        metavar="SIZE",
        help="what clean runs may keep in memory, such as 800M or 4G; the rest goes to files "
        "(default: an eighth of the free memory, at most 1G)",
    )


def _size(text: str) -> int:
    """An amount of memory in bytes."""
    try:
        return parse_bytes(text)
    except Mistake as mistake:
        raise argparse.ArgumentTypeError(f"{mistake.message}: {mistake.help}") from None
