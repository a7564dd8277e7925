"""What `--set NAME=VALUE` gives a program's params, and the texts of params that name files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from causaldsl.diagnostics import Mistake, suggest

MODEL = "model"
"""What `--set` calls the model, whatever the program calls it."""


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


def check_all_used(settings: Mapping[str, str], params: Mapping[str, object]) -> None:
    """Raise a :class:`Mistake` for a setting that no param of the program takes."""
    for name in settings:
        if name != MODEL and name not in params:
            raise Mistake(
                "unknown-param",
                f"the program has no param `{name}`",
                suggest(name, [*params, MODEL], "params"),
            )
