"""`causaldsl diff A B`: what changed from one run to another."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from causaldsl.commands.options import Commands
from causaldsl.commands.output import console, tell


def add(commands: Commands) -> None:
    diff = commands.add_parser(
        "diff",
        help="say what changed from one run to another",
        epilog="Exit code: 0 nothing changed, 1 something did.",
    )
    diff.add_argument("before", type=Path, help="a run's folder")
    diff.add_argument("after", type=Path, help="another run's folder")
    diff.add_argument("--json", action="store_true", help="print all that changed as JSON")
    diff.set_defaults(command=_diff)


def _diff(options: argparse.Namespace) -> int:
    from causaldsl.studies.diff import diff

    found = diff(options.before, options.after)
    if options.json:
        tell(json.dumps(found, indent=1, ensure_ascii=False))
    elif found:
        _print(found)
    else:
        tell("nothing changed")
    return 1 if found else 0


def _print(found: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    if program := found.pop("program", None):
        out.print("program", style="bold")
        out.print("\n".join(program), markup=False, highlight=False)
    for kind, changes in found.items():
        table = Table(title=kind, title_justify="left")
        for column in ("", "before", "after", *(["intervals"] if kind == "numbers" else [])):
            table.add_column(column, overflow="fold")
        for name, change in changes.items():
            sides = [escape(_side(change[side])) for side in ("before", "after")]
            if sides[0] == sides[1]:  # they differ by less than is shown
                sides = [str(change[side]) for side in ("before", "after")]
            more = [] if kind != "numbers" else ["apart" if change["apart"] else "overlap"]
            table.add_row(escape(name), *sides, *more)
        out.print(table)


def _side(value: Any) -> str:
    if isinstance(value, dict) and "mean" in value:
        from causaldsl.results.numbers import Number
        from causaldsl.studies.diff import shown

        return shown(Number(**value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return "none" if value is None else str(value)
