"""`causaldsl replicate P ..`: a grid of runs, and what became of each claim in them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl.commands.options import Commands
from causaldsl.commands.output import complain, console, tell
from causaldsl.diagnostics import Mistake
from causaldsl.model.dtypes import DTYPES
from causaldsl.plan.settings import BACKENDS

if TYPE_CHECKING:
    from causaldsl.studies.replicate import Grid

_PASSED = ("backend", "device", "dtype", "memory", "store")
_MARKS = {"held": "held", "fell": "FELL", "undecided": "?"}


def add(commands: Commands) -> None:
    replicate = commands.add_parser(
        "replicate",
        help="run programs with several models, seeds and params, and compare the verdicts",
        epilog="Runs that are there already are read, not made again. "
        "Exit code: 0 all claims held in all runs, 1 one fell, 3 a run failed, 4 one is undecided.",
    )
    replicate.add_argument("programs", type=Path, nargs="+", help=".cpatch files")
    replicate.add_argument("--models", type=_listed, default=[], help="names, with commas")
    replicate.add_argument("--seeds", type=_listed, default=["0"], help="such as 0,1,2")
    replicate.add_argument(
        "--set",
        metavar="NAME=VALUE,..",
        action="append",
        default=[],
        dest="settings",
        help="values of a param, with commas",
    )
    replicate.add_argument("--jobs", type=int, default=1, help="how many runs at a time (1)")
    replicate.add_argument(
        "--out", type=Path, default=Path("runs"), help="the grid's folder (runs)"
    )
    replicate.add_argument("--backend", choices=BACKENDS)
    replicate.add_argument("--dtype", choices=DTYPES)
    replicate.add_argument("--device")
    replicate.add_argument("--memory")
    replicate.add_argument("--store", metavar="DIR", help="as of `causaldsl run`")
    replicate.add_argument("--json", action="store_true", help="print replicate.json")
    replicate.set_defaults(command=_replicate)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _replicate(options: argparse.Namespace) -> int:
    from causaldsl.commands.options import read_settings
    from causaldsl.studies.replicate import grid, replicate, write_grid

    if options.jobs < 1 or not all(seed.isdigit() for seed in options.seeds):
        raise Mistake(
            "bad-option", "--jobs and --seeds are whole numbers", "--seeds 0,1,2 --jobs 2"
        )
    settings = {n: _listed(text) for n, text in read_settings(options.settings).items()}
    cells = grid(options.programs, options.models, list(map(int, options.seeds)), settings)
    given = [(name, getattr(options, name)) for name in _PASSED]
    more = [part for name, value in given if value for part in (f"--{name}", str(value))]
    found = replicate(cells, options.out, options.jobs, more, complain)
    write_grid(found, options.out)
    if options.json:
        tell((options.out / "replicate.json").read_text("utf-8"), end="")
    else:
        _print(found, options.out)
    return _code(found)


def _code(found: Grid) -> int:
    verdicts = {v for by_run in found.verdicts().values() for v in by_run.values()}
    if found.failed:
        return 3
    return 1 if "fell" in verdicts else 4 if "undecided" in verdicts else 0


def _print(found: Grid, out: Path) -> None:
    from rich.markup import escape
    from rich.table import Table

    screen, names = console(), list(found.results)
    for number, name in enumerate(names, 1):
        screen.print(f"{number}: {name}  {found.folders[name]}", markup=False, highlight=False)
    table = Table(title="Verdicts", title_justify="left")
    table.add_column("claim", overflow="fold")
    for column in (*map(str, range(1, len(names) + 1)), "mean difference", "I²"):
        table.add_column(column, justify="right")
    numbers = found.numbers()
    for claim, by_run in found.verdicts().items():
        mean = numbers.get(f"claim {claim}", {}).get("combined")
        about = ["", ""]
        if mean is not None:
            about = [f"{mean['mean']:.3g} [{mean['low']:.3g}, {mean['high']:.3g}]"]
            about.append(f"{100 * mean['i2']:.0f}%")
        marks = [_MARKS.get(by_run.get(name, ""), "") for name in names]
        table.add_row(escape(claim), *marks, *map(escape, about))
    screen.print(table)
    if found.share_pairs():
        screen.print("These runs share pairs: the means' intervals count that sampling error once.")
    for name, reason in found.failed.items():
        screen.print(f"failed: {name}\n{reason}", markup=False, highlight=False)
    screen.print(f"all numbers  {out / 'replicate.json'}", soft_wrap=True)
    if (out / "forest.svg").is_file():
        screen.print(f"forest plot  {out / 'forest.svg'}", soft_wrap=True)
