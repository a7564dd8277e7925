"""Results of a run, read again from its folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from causaldsl.diagnostics import Mistake
from causaldsl.results.records import Results
from causaldsl.shown import one_line


def read_results(folder: Path) -> Results:
    """The results of a run. Raises :class:`Mistake` if they are not there, or can't be read."""
    path = folder / "results.json"
    if not path.is_file():
        raise Mistake("missing-file", f"there is no {path}", "give the folder of a run")
    try:
        return Results.model_validate_json(path.read_text("utf-8"))
    except (ValidationError, UnicodeDecodeError, OSError) as error:
        reason = one_line(error)
        help = "it may be of another version of causaldsl: run the program again"
        raise Mistake("unreadable-file", f"{path} can't be read: {reason}", help) from None
