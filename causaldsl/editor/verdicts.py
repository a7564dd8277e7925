"""What the last run of a program found of its claims."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from causaldsl.results.records import Expectation, Results


@dataclass(frozen=True)
class LastRun:
    """The newest run of a program, with its claims by their text."""

    folder: Path
    claims: dict[str, Expectation]


def last_run(program: Path, folders: Iterable[Path]) -> LastRun | None:
    """The newest run of a program in the `runs` of these folders; None if there is none.

    A run that can't be read counts as none.
    """
    places = dict.fromkeys((program.parent, *folders))
    found = [p for f in places for p in (f / "runs" / program.stem).glob("*/results.json")]
    for path in sorted(found, key=lambda p: p.stat().st_mtime_ns, reverse=True)[:1]:
        try:
            results = Results.model_validate_json(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError):
            return None
        return LastRun(path.parent, {claim.text: claim for claim in results.expectations})
    return None


def verdict(text: str, run: LastRun | None) -> str:
    """What a run says of a claim, in Markdown."""
    if run is None:
        return "no run of this program yet"
    name = f"{run.folder.parent.name}/{run.folder.name}"
    claim = run.claims.get(text)
    if claim is None:
        return f"the last run ({name}) did not have this claim as it is now"
    said = f"**{claim.verdict}** in the last run ({name})"
    if claim.found is not None:
        return f"{said}: the audit found {claim.found}"
    said += f": {_number(claim.left)} and {_number(claim.right)}"
    if claim.difference is not None and claim.low is not None and claim.high is not None:
        said += (
            f", difference {_number(claim.difference)} "
            f"[{_number(claim.low)}, {_number(claim.high)}] at {claim.level:g}"
        )
    said += f", n = {claim.n}" if claim.n is not None else ""
    notes = [note for note in (claim.why, claim.selected and f"selected: {claim.selected}") if note]
    return "\n\n".join([said, *notes])


def _number(value: float | None) -> str:
    return "withheld" if value is None or math.isnan(value) else f"{value:.4g}"
