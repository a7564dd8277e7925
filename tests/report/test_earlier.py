"""Results of an earlier schema are read as those of this one: n counts units."""

from __future__ import annotations

from causaldsl.results.records import SCHEMA, Results
from tests.report.synthetic import trace


def earlier(provenance: dict) -> dict:
    traced = trace(12).model_dump(mode="json") | {"n": 60}
    traced.pop("n_pairs")
    said = {"schema_version": 3, "program": "p", "measures": {}, "traces": {"t": traced}}
    return said | {"provenance": provenance}


def test_n_of_pairs_becomes_n_of_units() -> None:
    sets = {"flip.test": {"n": 60, "units": 43, "templates": 3, "digest": "d"}}
    found = Results.model_validate(earlier({"pairs": sets, "seed": 1}))
    assert (found.traces["t"].n, found.traces["t"].n_pairs) == (43, 60)
    about = {"n_pairs": 60, "units": 43, "templates": 3, "digest": "d"}
    assert found.provenance == {"pairs": {"flip.test": about}, "seed": 1}
    again = Results.model_validate_json(found.model_dump_json())
    assert again == found
    assert again.schema_version == SCHEMA


def test_where_the_units_are_not_known() -> None:
    found = Results.model_validate(earlier({}))
    assert (found.traces["t"].n, found.traces["t"].n_pairs) == (60, 60)
