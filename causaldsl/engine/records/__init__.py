"""What stands in the results of a run: a function for each of their fields, found by import.

A function that is registered with :func:`gathers` takes the checked program and the session after
all has been evaluated, and gives the field of :class:`causaldsl.results.records.Results`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.discovery import import_all
from causaldsl.engine.session import Session
from causaldsl.results.records import Results

Gather = Callable[[CheckedProgram, Session], Any]
_FIELDS: dict[str, Gather] = {}


def gathers(field: str) -> Callable[[Gather], Gather]:
    """Register the function that gives a field of the results. Raises ValueError for a second."""

    def register(function: Gather) -> Gather:
        if field in _FIELDS or field not in Results.model_fields:
            raise ValueError(f"{field} is gathered already, or is no field of the results")
        _FIELDS[field] = function
        return function

    return register


def gather(program: CheckedProgram, session: Session, seconds: float) -> Results:
    """Everything that a run found, which took so long."""
    import_all(__name__)
    last = sorted(_FIELDS, key=lambda field: field == "notes")  # others may still note something
    found = {field: _FIELDS[field](program, session) for field in last}
    timings = {"run_seconds": round(seconds, 3)}
    return Results.model_validate({"program": program.path.name, "timings": timings, **found})
