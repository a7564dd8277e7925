"""Which files a program may read: those of its own folder, and what was allowed to it."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from causaldsl.check.limits import Limits
from causaldsl.check.params import ParamText, locate
from causaldsl.diagnostics import Mistake

_SHOWN = 200
"""Characters of a path in a message."""
_LISTED = 1000
"""Files of a folder with whose names one that is missing is compared."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def missing_file(written: str, path: Path) -> Mistake:
    """That there is no file where a program says one is."""
    help = f"paths are relative to the program; looked for {path}"
    if Path(written).name == written and path.parent.is_dir():  # beside the program
        names = islice((one.name for one in path.parent.iterdir()), _LISTED)
        if close := difflib.get_close_matches(written, names, n=1, cutoff=0.75):
            help = f"did you mean `{close[0]}`? {help[0].upper()}{help[1:]}"
    return Mistake("missing-file", f"there is no file {written}", help)


@dataclass(frozen=True)
class Readable:
    """Files and folders (with all below them) that a program may read, links resolved."""

    places: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path, allowed: Iterable[Path] = ()) -> Readable:
        """The program's own folder, and what else it was allowed."""
        return cls(tuple(_resolved(place, str(place)) for place in (folder, *allowed)))

    def file(self, written: str, folder: Path, limits: Limits) -> Path:
        """The file that a text of a program names, of a program that lies in ``folder``.

        A path that was given on the command line may lie anywhere.

        Raises:
            Mistake: if it lies outside, is no ordinary file, or is too large. One that does not
                exist is given back: its reader says so.
        """
        path = locate(written, folder) / written
        found = _resolved(path, written)
        given = isinstance(written, ParamText) and written.given
        if not given and not any(found.is_relative_to(place) for place in self.places):
            raise _outside(written, found.parent)
        try:
            about = found.stat()
        except (FileNotFoundError, NotADirectoryError):
            return path
        except OSError as error:
            raise _unreadable(written, str(error.strerror)) from None
        if not stat.S_ISREG(about.st_mode):
            kind = next((kind for is_it, kind in _KINDS if is_it(about.st_mode)), "something else")
            raise _unreadable(written, f"it is {kind}")
        limits.check("bytes", about.st_size, "too-large", f"{written} has {{}} bytes")
        return found

    def subfolder(self, written: str, folder: Path) -> Path | None:
        """The folder that a text of a program names, if there is one; its files may be large.

        Raises:
            Mistake: if it lies outside, as :meth:`file`.
        """
        found = _resolved(locate(written, folder) / written, written)
        if not found.is_dir():
            return None
        given = isinstance(written, ParamText) and written.given
        if not given and not any(found.is_relative_to(place) for place in self.places):
            raise _outside(written, found)
        return found


def _outside(written: str, allowed: Path) -> Mistake:
    return Mistake(
        "outside-folder",
        f"{written} lies outside the program's folder",
        f"put it there, or allow it where the program is run: --allow-path {allowed}",
    )


def _resolved(path: Path, written: str) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # too long, links in a circle, a NUL
        raise _unreadable(written, str(error)) from None


def _unreadable(written: str, reason: str) -> Mistake:
    shown = written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."
    return Mistake("unreadable-file", f"{shown} can't be read: {reason[:_SHOWN]}", "name a file")
