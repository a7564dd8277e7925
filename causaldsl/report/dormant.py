"""The words for dormant edges of a trace, by where they carry nothing."""

from __future__ import annotations

from causaldsl.results.routes import TraceEdge

WHERE = {
    "data": "on the data",
    "intervention": "under the patch",
    "opposite": "reversed on the data",
}
HEADINGS = {
    "data": "they carry effect under the patch, and on the data less than a fifth of it",
    "intervention": "they carry effect on the data, and under the patch less than a fifth of it",
    "opposite": "they carry effect under the patch, and the opposite on the data",
    "": "they carry effect under the patch or on the data, and not in both",
}
"""The last is for results that do not say where."""
MEANINGS = {
    "data": "not used on the data",
    "intervention": "used on the data alone",
    "opposite": "the other way on the data",
    "": "used under the patch or on the data, not in both",
}


def dormant_as(edge: TraceEdge) -> str:
    """`dormant on the data`; `dormant` where the results do not say where."""
    return f"dormant {WHERE[edge.asleep]}" if edge.asleep else "dormant"
