"""`causaldsl format`: a program in the house style."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from causaldsl.commands.options import Commands, add_program
from causaldsl.commands.output import tell
from causaldsl.diagnostics import Mistake


def add(commands: Commands) -> None:
    formatting = commands.add_parser("format", help="rewrite a program in the house style")
    add_program(formatting)
    formatting.add_argument("--check", action="store_true", help="only say whether it would change")
    formatting.set_defaults(command=_format)


def _format(options: argparse.Namespace) -> int:
    from causaldsl.syntax.format import format_program
    from causaldsl.syntax.parse import parse_file

    path: Path = options.program
    if not path.is_file():
        raise Mistake("missing-file", f"there is no program {path}")
    try:
        before = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistake("unreadable-file", f"{path} is not UTF-8 text: {error}") from None
    after = format_program(parse_file(path))
    if options.check:
        tell(f"{path} {'is' if before == after else 'is not'} in the house style")
        return 0 if before == after else 1
    if before != after:
        _replace(path.resolve(), after)
    return 0


def _replace(path: Path, text: str) -> None:
    """Write the text beside the file and move it into place, with the file's permissions."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    shutil.copymode(path, draft)
    os.replace(draft, path)
