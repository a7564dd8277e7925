"""`causaldsl calibrate`: measure this machine, for `check --cost`."""

from __future__ import annotations

import argparse

from causaldsl.commands.options import Commands
from causaldsl.commands.output import tell


def add(commands: Commands) -> None:
    calibrate = commands.add_parser(
        "calibrate", help="measure this machine, for the costs that `check --cost` reckons"
    )
    calibrate.set_defaults(command=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    from causaldsl.engine.calibrate import calibrate
    from causaldsl.plan.machine import processor, remember

    machine = calibrate(processor())
    path = remember(machine)
    rates = ", ".join(f"{rate / 1e9:,.1f} with {n} rows" for n, rate in machine.rates.items())
    tell(f"{machine.name}, {machine.threads} threads")
    tell(f"products of matrices in GFLOP/s: {rates}")
    tell(f"a block beside arithmetic: {machine.block * 1e3:.2g} ms; a start: {machine.start:.2g} s")
    tell(f"kept in {path}")
    return 0
