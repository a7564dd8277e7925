"""Histograms, with what each arm projects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session


@gathers("histograms")
def histograms(program: CheckedProgram, session: Session) -> dict[str, Any]:
    found = {}
    for name, histogram in program.histograms.items():
        record = asdict(session.values[session.graph.key_of(name)])
        for arm in histogram.arms:
            record["arms"][arm.name]["label"] = arm.label
        found[name] = record
    return found
