"""The circuits that runs were on."""

from __future__ import annotations

from typing import Any

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.circuits import CheckedCircuit, circuit_of
from causaldsl.engine.records import gathers
from causaldsl.engine.session import Session

_LISTED = 2000


@gathers("circuits")
def circuits(program: CheckedProgram, session: Session) -> dict[str, Any]:
    found = {
        m.name: {run.name: _record(one) for run in m.runs if (one := circuit_of(run)) is not None}
        for m in program.measurements.values()
    }
    return {name: runs for name, runs in found.items() if runs}


def _record(circuit: CheckedCircuit) -> dict[str, Any]:
    listed = circuit.size <= _LISTED
    return {
        "does": circuit.text,
        "size": circuit.size,
        "universe": circuit.universe,
        "over": circuit.over,
        "outside": circuit.outside,
        "parts": [str(part) for part in circuit.inside] if listed else [],
    }
