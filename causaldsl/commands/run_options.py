"""The options of every command that runs a program."""

from __future__ import annotations

import argparse
from pathlib import Path

from causaldsl.commands.work_options import add_work_options


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Where a run goes, on what, and with what."""
    command.add_argument("--out", type=Path, help="the run's folder (else in runs/)")
    add_work_options(command)
    command.add_argument("--device", default="cpu", help="cpu (default), cuda or mps")
    command.add_argument(
        "--tf32",
        action="store_true",
        help="let an NVIDIA GPU round float32 factors to 10 bits (off by default)",
    )
    command.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="added to the seeds of das, random, resample and bootstrap; pairs keep their own",
    )
    command.add_argument("--json", action="store_true", help="print results.json instead of tables")


def _seed(text: str) -> int:
    """A seed small enough for every generator."""
    value = int(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError("a seed is a whole number from 0 to 2147483647")
    return value
