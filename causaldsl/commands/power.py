"""`causaldsl power RUN`: how many pairs and templates each claim needs."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from causaldsl.commands.options import Commands
from causaldsl.commands.output import announce, console, tell


def add(commands: Commands) -> None:
    power = commands.add_parser("power", help="say how many pairs each claim of a run needs")
    power.add_argument("run", type=Path, help="a run's folder")
    power.add_argument("--power", type=_share, default=0.8, help="how surely (0.8)")
    power.add_argument("--model", help="where the run's model is now, if it was a local one")
    power.add_argument("--json", action="store_true", help="print the numbers as JSON")
    power.set_defaults(command=_power)


def _share(text: str) -> float:
    value = float(text)
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError("a power is at least 0.5 and below 1")
    return value


def _power(options: argparse.Namespace) -> int:
    from causaldsl.studies.power import power

    found = power(options.run, options.power, options.model, announce)
    if options.json:
        tell(json.dumps(found, indent=1))
        return 0
    from rich.markup import escape
    from rich.table import Table

    title = f"What each claim needs to be decided with probability {options.power:g}"
    table = Table(title=title, title_justify="left")
    table.add_column("claim", overflow="fold")
    for column in ("verdict", "difference", "units", "needs", "templates", "needs "):
        table.add_column(column, justify="right")
    for row in found:
        sizes = [row[n] for n in ("units", "needs_units", "templates", "needs_templates")]
        cells = [_cell(size) for size in sizes]
        table.add_row(escape(row["claim"]), row["verdict"], _number(row["difference"]), *cells)
    out = console()
    out.print(table)
    for row in found:
        if row["why"]:
            out.print(f"{row['claim']}: {row['why']}", markup=False, highlight=False)
    out.print("The estimate is taken for the truth; templates are for claims `over templates`.")
    return 0


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3g}"
