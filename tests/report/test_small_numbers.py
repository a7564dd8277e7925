"""Numbers of tables: small probabilities keep their digits."""

import pytest

from causaldsl.report.html.tables import arms_table
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


def test_a_marked_cell_does_not_read_as_zero() -> None:
    tiny = Number(mean=0.0012, n=40, low=0.0004, high=0.0021)
    assert measured(tiny, "fldd") == "0.00 [0.00, 0.00]"
    assert measured(tiny, "fldd", marked=True) == "0.0012 [0.0004, 0.0021]"
    less = Number(mean=-2.3e-7, n=40, low=-3e-7, high=-1e-7)
    assert measured(less, "fldd", marked=True) == "-2.3e-07 [-3.0e-07, -1.0e-07]"
    assert measured(Number(mean=0.12, n=40, low=0.1, high=0.2), "fldd", marked=True)[:4] == "0.12"
    cells = {"clean": {"fldd": Number(mean=0.0, n=40, low=0.0, high=0.0)}, "[1]": {"fldd": tiny}}
    cells["[2]"] = {"fldd": Number(mean=0.6, n=40, low=0.5, high=0.7)}
    page = str(arms_table(cells, "", {}, "", marked={"fldd": ["[1]"]}))
    assert "[0.0004, 0.0021]" in page
    assert "[0.50, 0.70]" in page
