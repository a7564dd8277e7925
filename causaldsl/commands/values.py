"""`causaldsl values RUN`: the numbers of a run by pair."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl.commands.options import Commands
from causaldsl.commands.output import console, tell

if TYPE_CHECKING:
    from pyarrow import Table


def add(commands: Commands) -> None:
    values = commands.add_parser("values", help="what a run's numbers are made from, by pair")
    values.add_argument("run", type=Path, help="a run's folder")
    values.add_argument("--csv", action="store_true", help="print every number as CSV")
    values.set_defaults(command=_values)


def _values(options: argparse.Namespace) -> int:
    from causaldsl.results.values import read_values

    table = read_values(options.run)
    if options.csv:
        from pyarrow import csv

        written = io.BytesIO()
        csv.write_csv(table, written)
        tell(written.getvalue().decode(), end="")
    else:
        _overview(table)
    return 0


def _overview(table: Table) -> None:
    """What there is: for each metric of each statement its arms, pairs and numbers."""
    from rich.table import Table as Shown

    groups = table.group_by(["measure", "metric", "pairs"], use_threads=False)
    counts = [("arm", "count_distinct"), ("pair", "count_distinct"), ("value", "count")]
    shown = Shown(title=f"{len(table)} numbers by pair", title_justify="left")
    for column in ("measure", "metric", "pairs"):
        shown.add_column(column, overflow="fold")
    for column in ("arms", "pairs", "numbers"):
        shown.add_column(column, justify="right")
    for row in groups.aggregate(counts).to_pylist():
        shown.add_row(*(str(value) for value in row.values()))
    out = console()
    out.print(shown)
    out.print("causaldsl values RUN --csv prints them; pandas.read_parquet reads values.parquet.")
