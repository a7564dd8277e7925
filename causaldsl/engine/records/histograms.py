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
        value = session.values[session.graph.key_of(name)]
        arms = {arm: asdict(counted) for arm, counted in value.arms.items()}
        for arm in histogram.arms:
            arms[arm.name]["label"] = arm.label
            del arms[arm.name]["rounding"]
        found[name] = {"arms": arms}
    return found
