"""`causaldsl runs`: the runs in a folder, with their claims."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causaldsl.commands.options import Commands
from causaldsl.commands.output import complain, console, tell
from causaldsl.diagnostics import Mistake

if TYPE_CHECKING:
    from causaldsl.studies.runs import Kept


def add(commands: Commands) -> None:
    runs = commands.add_parser("runs", help="list the runs in a folder, with their claims")
    runs.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="DIR",
                      help="where they are (default: runs)")  # fmt: skip
    runs.add_argument("--json", action="store_true", help="print them as JSON")
    runs.set_defaults(command=_runs)


def _runs(options: argparse.Namespace) -> int:
    from causaldsl.studies.runs import read_run

    if not options.folder.is_dir():
        help = "give the folder in which runs are: causaldsl runs DIR"
        raise Mistake("missing-file", f"there is no folder {options.folder}", help)
    rows, unread = [], []
    for path in sorted(options.folder.rglob("results.json"), key=_written, reverse=True):
        try:
            rows.append(_row(read_run(path.parent)))
        except Mistake as mistake:
            unread.append(mistake.message)
    if options.json:
        tell(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _show(rows, options.folder)
    for message in unread:
        complain(f"note: {message}")
    return 0


def _written(path: Path) -> float:
    return path.stat().st_mtime


def _row(run: Kept) -> dict[str, Any]:
    said = run.results.provenance
    at = datetime.fromtimestamp(_written(run.folder / "results.json"))
    return {
        "run": str(run.folder),
        "program": run.results.program,
        "model": said.get("model"),
        "written": at.strftime("%Y-%m-%d %H:%M"),
        "seconds": run.results.timings.get("run_seconds"),
        "claims": dict(Counter(claim.verdict for claim in run.results.expectations)),
    }


def _show(rows: list[dict[str, Any]], folder: Path) -> None:
    from rich.table import Table

    table = Table(title=f"Runs in {folder}", title_justify="left")
    for column in ("run", "model", "written", "took", "claims"):
        table.add_column(column, overflow="fold")
    for row in rows:
        claims = ", ".join(f"{count} {verdict}" for verdict, count in sorted(row["claims"].items()))
        took = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        table.add_row(row["run"], row["model"] or "", row["written"], took, claims or "none")
    console().print(table)
