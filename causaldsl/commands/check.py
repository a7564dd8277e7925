"""`causaldsl check`: is a program right?"""

from __future__ import annotations

import argparse

from causaldsl import api
from causaldsl.commands.options import (
    Commands,
    add_program,
    add_reading,
    add_settings,
    add_work_options,
    read_limits,
    read_settings,
)
from causaldsl.commands.output import announce, tell, warn


def add(commands: Commands) -> None:
    check = commands.add_parser("check", help="check a program without loading any weight")
    add_program(check)
    add_settings(check)
    add_reading(check)
    check.add_argument("--tree", action="store_true", help="print the syntax tree")
    check.add_argument(
        "--cost", action="store_true", help="reckon what a run takes: time, memory, store"
    )
    add_work_options(check)
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    settings = read_settings(options.settings)
    program = api.check(
        options.program,
        settings=settings,
        progress=announce,
        allow=options.allow,
        limits=read_limits(options.limits),
    )
    if options.tree:
        from causaldsl.syntax.parse import parse, tree_text

        tell(tree_text(parse(program.source)))
        return 0
    warn(program)
    runs = sum(len(m.runs) for m in program.measurements.values())
    pairs = sum(len(p) for f in program.families.values() for p in (f.train, f.test, f.whole) if p)
    model = program.model.name if program.model else "no model"
    tell(
        f"{options.program} is right: {model}, {pairs} pairs, {runs} runs, "
        f"{len(program.claims)} claims"
    )
    if options.cost:
        from causaldsl.plan.cost import cost_text

        cost = api.cost(
            program, backend=options.backend, dtype=options.dtype, memory=options.memory
        )
        tell(cost_text(cost))
    return 0
