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
    "notebook": ("a program in the cells of a notebook", ()),
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
    starters = shipped("programs") / "starters"
    suffix = ".ipynb" if options.start == "notebook" else ".cpatch"
    begun = folder / f"{folder.resolve().name}{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    begun.write_bytes((starters / f"{options.start}{suffix}").read_bytes())
    for name in STARTERS[options.start][1]:
        (folder / name).write_bytes((starters / name).read_bytes())
    steps = f"  causaldsl check {begun}\n  causaldsl run {begun}"
    if suffix == ".ipynb":
        steps = "  open it in Jupyter or another editor of notebooks, and run its cells"
    tell(f"{begun} is there; next:\n{steps}")
    return 0
