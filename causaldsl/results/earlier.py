"""Results that an earlier version wrote, as this one has them."""

from __future__ import annotations

from typing import Any

_COUNTED = ("audits", "traces", "attributions")


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Up to schema 3, ``n`` counted pairs in audits, traces, attributions and the provenance."""
    if data.get("schema_version", 4) > 3:
        return data
    provenance = data.get("provenance", {})
    sets = {name: _renamed(about) for name, about in provenance.get("pairs", {}).items()}
    units = {name: about["units"] for name, about in sets.items() if "units" in about}
    new = {
        field: {name: _counted(record, units) for name, record in data[field].items()}
        for field in _COUNTED
        if field in data
    }
    told = {"provenance": provenance | {"pairs": sets}} if sets else {}
    return data | new | told | {"schema_version": 4}


def _renamed(about: dict[str, Any]) -> dict[str, Any]:
    return {"n_pairs" if key == "n" else key: value for key, value in about.items()}


def _counted(record: dict[str, Any], units: dict[str, int]) -> dict[str, Any]:
    """A record whose ``n`` is of units, where it is known how many there were."""
    n = record["n"]
    return record | {"n": units.get(record["pairs"], n), "n_pairs": n}
