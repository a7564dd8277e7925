"""`causaldsl check`: are programs right?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causaldsl import api
from causaldsl.commands.options import (
    STDIN,
    WORK,
    Commands,
    add_programs,
    add_reading,
    add_settings,
    add_work_options,
    read_limits,
    read_settings,
    read_work,
    refuse_alone,
    standard_input,
)
from causaldsl.commands.output import WRONG, announce, complain, error_text, tell, warn
from causaldsl.diagnostics import Mistake, ProgramError, as_data

if TYPE_CHECKING:
    from causaldsl.check.checked import CheckedProgram


def add(commands: Commands) -> None:
    check = commands.add_parser(
        "check",
        help="check programs without loading any weight",
        epilog="Exit code: 0 all are right, 2 one is wrong.",
    )
    add_programs(check)
    add_settings(check)
    add_reading(check)
    how = check.add_mutually_exclusive_group()
    how.add_argument("--tree", action="store_true", help="print the syntax tree")
    how.add_argument("--json", action="store_true", help="print what was found as JSON")
    how.add_argument(
        "--cost", action="store_true", help="reckon what a run takes: time, memory, store"
    )
    add_work_options(check)
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    if not options.cost:
        refuse_alone(options, WORK, "--cost")
    if options.json:
        found = [_data(path, options) for path in options.programs]
        tell(json.dumps({"programs": found}, indent=1, ensure_ascii=False))
        return 0 if all(program["right"] for program in found) else WRONG
    wrong = 0
    for path in options.programs:
        try:
            _tell(path, _checked(path, options), options)
        except (ProgramError, Mistake) as error:
            wrong += 1
            complain(f"{error_text(error)}\n")
    if wrong and len(options.programs) > 1:
        complain(f"{wrong} of {len(options.programs)} programs are wrong")
    return WRONG if wrong else 0


def _checked(path: Path, options: argparse.Namespace) -> CheckedProgram:
    return api.check(
        f"{standard_input()}\n" if path == STDIN else path,
        settings=read_settings(options.settings),
        progress=announce,
        allow=options.allow,
        limits=read_limits(options.limits),
    )


def _tell(path: Path, program: CheckedProgram, options: argparse.Namespace) -> None:
    if options.tree:
        from causaldsl.syntax.parse import parse, tree_text

        tell(tree_text(parse(program.source)))
        return
    warn(program)
    runs = sum(len(m.runs) for m in program.measurements.values())
    runs += sum(len(g.runs) for g in program.generations.values())
    pairs = sum(len(p) for f in program.families.values() for p in (f.train, f.test, f.whole) if p)
    model = program.model.name if program.model else "no model"
    name = "the program" if path == STDIN else path
    counts = {"pair": pairs, "run": runs, "claim": len(program.claims)}
    said = [f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items()]
    tell(f"{name} is right: {', '.join([model, *said])}")
    if options.cost:
        from causaldsl.plan.cost import cost_text

        tell(cost_text(api.cost(program, **read_work(options))))


def _data(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What was found in one program: whether it is right, and every diagnostic."""
    try:
        found = [as_data(warning) for warning in _checked(path, options).warnings]
        right = True
    except ProgramError as error:
        found, right = [as_data(diagnostic) for diagnostic in error.diagnostics], False
    except Mistake as mistake:  # of no place in the program
        said = {"code": mistake.code, "message": mistake.message, "help": mistake.help}
        found, right = [{**said, "level": "error"}], False
    return {"program": str(path), "right": right, "diagnostics": found}
