"""`causaldsl lock PROGRAM`: claims on record before the run that tests them."""

from __future__ import annotations

import argparse

from causaldsl import api
from causaldsl.commands.options import (
    Commands,
    add_program,
    add_seed,
    add_settings,
    read_settings,
)
from causaldsl.commands.output import announce, tell, warn


def add(commands: Commands) -> None:
    lock = commands.add_parser("lock", help="put a program's claims on record before it is run")
    add_program(lock)
    add_settings(lock)
    add_seed(lock)
    lock.add_argument("--check", action="store_true", help="only say what has changed since")
    lock.add_argument("--json", action="store_true", help="print the lock as JSON")
    lock.set_defaults(command=_lock)


def _lock(options: argparse.Namespace) -> int:
    from causaldsl.results.lock import SUFFIX, differences, lock_of, read_lock

    settings = read_settings(options.settings)
    compiled = api.compile(options.program, settings=settings, progress=announce)
    made = lock_of(compiled.program, compiled.graph, options.seed)
    path = options.program.with_suffix(SUFFIX)
    if options.check:
        changed = differences(read_lock(path), made)
        tell("\n".join(changed) or f"{options.program} is as it was when it was locked")
        return 1 if changed else 0
    warn(compiled.program)
    path.write_text(made.text(), "utf-8")
    count = len(made.claims)
    said = "1 claim is" if count == 1 else f"{count} claims are"
    tell(made.text().rstrip() if options.json else f"{said} on record in {path}")
    return 0
