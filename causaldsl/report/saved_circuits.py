"""What a run leaves for other tools: its circuits as EAP-IG and MIB read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.circuits import CheckedCircuit, circuit_of
from causaldsl.check.interventions import site_of
from causaldsl.check.places import Place
from causaldsl.model.circuit_files import circuit_json

MOST = 20
"""How many circuits of one statement are written; a sweep may have thousands."""


def write_circuits(folder: Path, program: CheckedProgram) -> None:
    """A file for each circuit of a measure or sweep; the folder is there only if there is one."""
    for name, found in _circuits(program):
        assert program.model is not None
        folder.mkdir(exist_ok=True)
        inside = [part.site if isinstance(part, Place) else part for part in found.inside]
        nodes = [part for part in found.inside if isinstance(part, Place)]
        over = {place.site.kind for place in (*nodes, *map(site_of, found.changes))}
        written = circuit_json(inside, program.model.shapes, over)
        (folder / f"{name}.json").write_text(json.dumps(written), "utf-8")


def _circuits(program: CheckedProgram) -> Iterator[tuple[str, CheckedCircuit]]:
    """Those that are at all positions and of the components that such a file has."""
    for measurement in program.measurements.values():
        count = 0
        for run in measurement.runs:
            found = circuit_of(run)
            if found is None or count >= MOST or not found.inside or not _can_be_written(found):
                continue
            count += 1
            yield circuit_file_name(measurement.name, run.name), found


def circuit_file_name(measurement: str, run: str) -> str:
    """The name of a circuit's file, without its ending.

    >>> circuit_file_name("m", "c"), circuit_file_name("s", "[2.1]"), circuit_file_name("s", "c[4]")
    ('m.c', 's.2.1', 's.c.4')
    """
    return re.sub(r"[^\w.-]+", ".", f"{measurement}.{run}").replace("..", ".").strip(".")


def _can_be_written(circuit: CheckedCircuit) -> bool:
    places = [part for part in circuit.inside if isinstance(part, Place)]
    whole = all(place.position is not None and place.position.whole for place in places)
    kinds = {place.site.kind for place in places}
    return whole and circuit.of_kinds and not kinds & {"attn_out"}
