"""`causaldsl bundle RUN`: what a reviewer wants of a run, in one file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from causaldsl.commands.options import Commands
from causaldsl.commands.output import complain, tell


def add(commands: Commands) -> None:
    bundle = commands.add_parser(
        "bundle", help="pack a run with tables (LaTeX, CSV), figures (PDF) and a methods paragraph"
    )
    bundle.add_argument("run", type=Path, help="a run's folder")
    bundle.add_argument("--out", type=Path, help="the zip file (else beside the run's folder)")
    bundle.add_argument("--json", action="store_true", help="print what is in it as JSON")
    bundle.set_defaults(command=_bundle)


def _bundle(options: argparse.Namespace) -> int:
    import zipfile

    from causaldsl.studies.bundle import bundle

    run: Path = options.run.resolve()
    out: Path = options.out or run.with_name(f"{run.name}.zip")
    notes = bundle(run, out)
    for note in notes:
        complain(f"note: {note}")
    with zipfile.ZipFile(out) as file:
        names = file.namelist()
        methods = file.read("methods.txt").decode()
    if options.json:
        tell(json.dumps({"bundle": str(out), "files": names, "notes": notes}, indent=1))
    else:
        tell(f"{methods}\n{out} has {len(names)} files")
    return 0
