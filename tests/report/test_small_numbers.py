"""Numbers of tables: small probabilities keep their digits."""

import pytest

from causaldsl.report.kinds import audits
from causaldsl.report.numbers import measured
from causaldsl.results.numbers import Number
from causaldsl.results.records import Evidence


@pytest.mark.parametrize(
    ("value", "metric", "shown"),
    [
        (0.5638, "prob", "0.56 [0.28, 1.13]"),
        (0.0123, "prob", "0.012 [0.006, 0.025]"),
        (0.000123, "prob", "0.00012 [0.00006, 0.00025]"),
        (-0.00456, "prob_diff", "-0.0046 [-0.0023, -0.0091]"),
        (1.24e-9, "prob", "1.2e-09 [6.2e-10, 2.5e-09]"),
        (0.0, "prob", "0.00 [0.00, 0.00]"),
        (0.000123, "fldd", "0.00 [0.00, 0.00]"),
    ],
)
def test_small_probabilities(value: float, metric: str, shown: str) -> None:
    number = Number(mean=value, n=30, low=value / 2, high=value * 2)
    assert measured(number, metric) == shown


def test_a_count_is_shown_as_one() -> None:
    """Also after results.json was read again; what is measured keeps its decimals."""
    evidence = Evidence(
        name="random directions",
        value=0.5,
        meaning="",
        points_to="neither",
        details={"directions": 8, "largest": 1.0},
    )
    again = Evidence.model_validate_json(evidence.model_dump_json())
    for one in (evidence, again):
        assert [audits._number(value) for value in one.details.values()] == ["8", "1.00"]
        assert "directions 8; largest 1.00" in str(audits._details(one))
