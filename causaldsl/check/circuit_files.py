"""The set that a circuit file holds."""

from __future__ import annotations

from pathlib import Path

from causaldsl.check.edges import EdgeValue
from causaldsl.check.places import Place
from causaldsl.check.sets import Members
from causaldsl.diagnostics import Mistake, Span
from causaldsl.model.circuit_files import read_circuit_file
from causaldsl.model.shapes import ModelDims


def members_in(path: Path, written: str, shapes: ModelDims, span: Span) -> Members:
    """Its edges; its nodes where it has no edges."""
    nodes, edges = read_circuit_file(path, written, shapes)
    if edges:
        return Members("edges", tuple(EdgeValue(edge, span) for edge in edges), shapes)
    if not nodes:
        raise Mistake("empty-set", f"nothing is in the circuit of {written}", "take something in")
    return Members("sites", tuple(Place(site, None, span) for site in nodes), shapes)
