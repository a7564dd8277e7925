"""Texts that name a file, and the folder that their path starts from."""

from __future__ import annotations

from pathlib import Path


class ParamText(str):
    """A param's text, which remembers where it was given.

    A path in a program starts at the program's folder, one on the command line at the current one.
    ``given`` says whether it was given there: such a path may lie anywhere.
    """

    folder: Path
    given: bool

    def __new__(cls, text: str, folder: Path, given: bool = False) -> ParamText:
        made = super().__new__(cls, text)
        made.folder, made.given = folder, given
        return made


def locate(text: str, folder: Path) -> Path:
    """The folder that the path ``text`` starts from, in a program that lies in ``folder``."""
    return text.folder if isinstance(text, ParamText) else folder
