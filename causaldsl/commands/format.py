"""`causaldsl format`: programs in the house style."""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import tempfile
from pathlib import Path

from causaldsl.commands.options import STDIN, Commands, add_programs, standard_input
from causaldsl.commands.output import WRONG, complain, error_text, tell
from causaldsl.diagnostics import Mistake, ProgramError, Source


def add(commands: Commands) -> None:
    formatting = commands.add_parser(
        "format",
        help="rewrite programs in the house style",
        epilog="Exit code: 0; with --check or --diff 1 if one would change; 2 one is wrong.",
    )
    add_programs(formatting)
    formatting.add_argument("--check", action="store_true", help="only say whether it would change")
    formatting.add_argument("--diff", action="store_true", help="only show what would change")
    formatting.set_defaults(command=_format)


def _format(options: argparse.Namespace) -> int:
    worst = 0
    for path in options.programs:
        try:
            worst = max(worst, _format_one(path, options.check, options.diff))
        except (ProgramError, Mistake) as error:
            worst = WRONG
            complain(error_text(error))
    return worst


def _format_one(path: Path, check: bool, diff: bool) -> int:
    """Format a program, or only say what would change; 1 if it then would."""
    from causaldsl.syntax.format import format_program
    from causaldsl.syntax.parse import parse

    name = "<stdin>" if path == STDIN else str(path)
    before = standard_input() if path == STDIN else _text(path)
    after = format_program(parse(Source(name, before)))
    if diff:
        lines = before.splitlines(True), after.splitlines(True)
        tell("".join(difflib.unified_diff(*lines, name, f"{name} in the house style")), end="")
    if check:
        tell(f"{name} {'is' if before == after else 'is not'} in the house style")
    if check or diff:
        return int(before != after)
    if path == STDIN:
        tell(after, end="")
    elif before != after:
        _replace(path.resolve(), after)
    return 0


def _text(path: Path) -> str:
    if not path.is_file():
        raise Mistake("missing-file", f"there is no program {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistake("unreadable-file", f"{path} is not UTF-8 text: {error}") from None


def _replace(path: Path, text: str) -> None:
    """Write the text beside the file and move it into place, with the file's permissions."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    shutil.copymode(path, draft)
    os.replace(draft, path)
