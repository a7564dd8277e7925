"""The options that say how the work is done, of the commands that run a program or plan a run."""

from __future__ import annotations

import argparse

from causaldsl.diagnostics import Mistake
from causaldsl.plan.memory import parse_bytes


def add_work_options(command: argparse.ArgumentParser) -> None:
    """Which backend, in which precision, and with how much memory (bytes, or None)."""
    command.add_argument(
        "--backend",
        choices=("cone", "hooks"),
        default="cone",
        help="cone computes only what an intervention can change (default); hooks is the reference",
    )
    command.add_argument(
        "--dtype",
        choices=("float32", "float64", "bfloat16"),
        default="float32",
        help="float32 (default); with bfloat16 the results say how far they lie from float32's",
    )
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
