"""`causaldsl new`: a program to begin with, and its data."""

from __future__ import annotations

import argparse
from pathlib import Path

from causaldsl.commands.options import Commands
from causaldsl.commands.output import tell
from causaldsl.diagnostics import Mistake

STARTERS = {
    "ioi": ("prompts from templates, a sweep, a direction", ()),
    "capitals": ("facts from a table", ("capitals.tsv",)),
    "jsonl": ("pairs of your own in a file", ("pairs.jsonl",)),
}
"""What each is about, and the files that it reads."""


def add(commands: Commands) -> None:
    about = "; ".join(f"{name}: {about}" for name, (about, _) in STARTERS.items())
    new = commands.add_parser("new", help="begin a program of your own", epilog=about)
    new.add_argument("name", nargs="?", help="of the folder to make (default: the start's name)")
    new.add_argument(
        "--from", dest="start", choices=STARTERS, default="ioi", help="where to start (default ioi)"
    )
    new.set_defaults(command=_new)


def _new(options: argparse.Namespace) -> int:
    from causaldsl.shipped import shipped

    folder = Path(options.name or options.start)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        help = "give another name: causaldsl new NAME"
        raise Mistake("not-empty", f"{folder} is there already", help)
    starters, program = shipped("programs") / "starters", folder / f"{folder.resolve().name}.cpatch"
    folder.mkdir(parents=True, exist_ok=True)
    program.write_bytes((starters / f"{options.start}.cpatch").read_bytes())
    for name in STARTERS[options.start][1]:
        (folder / name).write_bytes((starters / name).read_bytes())
    tell(f"{program} is there; next:\n  causaldsl check {program}\n  causaldsl run {program}")
    return 0
