"""Intervals cover, and many looks at nothing find nothing, in the runs of docs/make_claims.py."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from causaldsl.check.units import units_of
from causaldsl.engine.bootstrap import Bootstrap
from causaldsl.engine.drawn import Drawn, combined, minus
from causaldsl.engine.metrics import Measured, Outcome
from causaldsl.vocabulary.measured import PositiveRate

FEW = 400
"""Runs for every change: a share of 0.95 comes out above 0.917 in 999 of 1,000 tests."""


@pytest.fixture(scope="module")
def simulate() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "docs/make_claims.py"), run_name="made")


def check_coverage(found: dict[str, list[float]], sizes: tuple[int, ...], slack: float) -> None:
    for name, row in found.items():
        for n, share in zip(sizes, row, strict=True):
            skewed = "exponential" in name
            if not (skewed and n < 12):
                assert share >= (0.90 if skewed else 0.93) - slack, (name, n, share)


def test_a_few_runs_cover(simulate: dict[str, Any]) -> None:
    check_coverage(simulate["coverage"](FEW), simulate["SIZES"], 0.02)
    for between in (0.1, 1.0):
        assert simulate["over_templates"](8, FEW, between) >= 0.91


def test_a_few_looks_at_nothing(simulate: dict[str, Any]) -> None:
    """With 40 cells and 60 runs: 0.05 comes out below 0.16 in 999 of 1,000 tests."""
    assert simulate["family"](20, 60, cells=40) <= 0.16
    assert simulate["argmax"](20, 60) <= 0.16


CELLS = [
    (0.2, 0.0, 0.0),
    (0.01, 0.0, 0.9),
    (0.1, 0.0, 0.5),
    (0.02, 0.02, 0.4),
    (0.05, 0.05, 0.1),
    (0.1, 0.3, 0.0),
    (0.5, 0.0, 0.2),
    (0.7, 0.1, 0.1),
    (0.4, 0.4, 0.1),
]
"""Shares of units that count in one arm alone, in the other alone, and in both."""


def _term(share: float, count: int) -> float:
    return share**count / math.factorial(count)


@pytest.mark.parametrize("n", [5, 10])
def test_a_difference_of_rates_covers_by_all_outcomes(simulate: dict[str, Any], n: int) -> None:
    """Without chance: the probability of all outcomes whose interval holds the true difference."""
    outcomes = [
        (a, b, c, n - a - b - c)
        for a in range(n + 1)
        for b in range(n + 1 - a)
        for c in range(n + 1 - a - b)
    ]
    for cells in CELLS:
        shares = (*cells, max(0.0, 1 - sum(cells)))
        covered = sum(
            math.factorial(n) * math.prod(map(_term, shares, each))
            for each in outcomes
            if simulate["holds"](cells[0] - cells[1], *each)
        )
        assert covered >= 0.95, cells


@pytest.mark.parametrize("n", [20, 50])
def test_a_difference_of_rates_covers(simulate: dict[str, Any], n: int) -> None:
    """0.95 comes out above 0.917 in 999 of 1,000 tests."""
    for cells in CELLS[::4]:
        assert simulate["two_rates"](n, FEW, cells) >= 0.917, cells


def test_rates_that_agree_in_every_unit_may_differ(simulate: dict[str, Any]) -> None:
    """As much as a rate of 0 in n may be above 0, wherever the rates are, and never less."""
    for n, most in ((5, 1.5), (10, 1.25), (20, 1.25)):
        least = 1 - 0.025 ** (1 / n)
        for both in range(n + 1):
            low, high = simulate["interval_of_rates"](0, 0, both, n - both)
            assert high == pytest.approx(-low, rel=0.12)
            assert 0.97 * least < high < most * least, (n, both)


def test_other_sums_of_rates_cover(simulate: dict[str, Any]) -> None:
    """Of a + b, 2 a - b and a - (b + c) / 2 the bounds are those of the numbers by unit.

    The oracle draws Dirichlet weights of n + 1 units by itself: the last has the least or the
    largest number that there can be.
    """
    n, made = 20, simulate["bootstrap"](20)
    columns = torch.zeros(n, 3, dtype=torch.float64)
    columns[:6, 0], columns[3:7, 1], columns[15:, 2] = 1, 1, 1
    rates = [simulate["rate"](made, column) for column in columns.unbind(1)]
    weights = np.random.default_rng(0).dirichlet(np.ones(n + 1), 40_000)
    for factors in ((1, 1, 0), (2, -1, 0), (1, -0.5, -0.5)):
        by_unit = columns.numpy() @ np.array(factors)
        least, most = (sum(f for f in factors if s * f > 0) for s in (-1, 1))
        low, high = (weights @ np.append(by_unit, extra) for extra in (least, most))

        def formula(lows: Any, highs: Any, factors: Any = factors) -> Any:
            ends = [(f * a, f * b) for f, a, b in zip(factors, lows, highs, strict=True)]
            return (
                sum(torch.minimum(a, b) for a, b in ends),
                sum(torch.maximum(a, b) for a, b in ends),
            )

        found = combined(float(by_unit.mean()), rates, formula)
        assert isinstance(found, Drawn)
        ends = np.quantile(low, 0.025), np.quantile(high, 0.975)
        assert found.interval() == pytest.approx(ends, abs=0.06), factors


def test_a_rate_alone_and_less_a_constant_is_exact(simulate: dict[str, Any]) -> None:
    for right in (0, 1, 7, 19, 20):
        made = simulate["bootstrap"](20)
        drawn = simulate["rate"](made, (torch.arange(20) < right).double())
        less = combined(float(drawn) - 0.25, [drawn, 0.25], minus)
        assert isinstance(less, Drawn)
        exact = binomtest(right, 20).proportion_ci(0.95)
        for low, high in (drawn.interval(), [end + 0.25 for end in less.interval()]):
            assert (low, high) == pytest.approx((exact.low, exact.high), abs=0.003)


@pytest.mark.parametrize("n", [13, 20, 50])
def test_rates_over_units_of_any_sizes_cover(simulate: dict[str, Any], n: int) -> None:
    """By as many units as there were, those of 1 or 40 pairs covered half of the time."""
    for sized in simulate["SIZED"]:
        for p in (0.05, 0.3, 0.5, 0.95):
            for alike in (True, False):
                share = simulate["rates_of_sized"](n, FEW, p, sized, alike)
                assert share >= 0.94, (sized, p, alike)


def of_sizes(sizes: list[int], *right: list[bool]) -> list[Drawn]:
    """The positive rates of arms, by the units that are right in each: all pairs of a unit."""
    named = [[unit] for unit, size in enumerate(sizes) for _ in range(size)]
    units = units_of(named, [""] * len(named))
    made = Bootstrap(torch.Generator().manual_seed(0), 1000, units, "pairs")
    runs = {
        str(arm): Outcome(
            {"logit_diff": torch.tensor([1.0 if signs[unit] else -1.0 for (unit,) in named])}
        )
        for arm, signs in enumerate(right)
    }
    measured = Measured(runs, runs["0"], made)
    measured.add(PositiveRate())
    return [measured[arm]["positive_rate"].drawn for arm in runs]


def test_one_unit_with_most_pairs_is_one_unit() -> None:
    """12 of 13 units are right; the wrong one has 89 of 101 pairs. It was [0.01, 0.41]."""
    sizes, right = [89] + [1] * 12, [False] + [True] * 12
    (rate,) = of_sizes(sizes, right)
    assert float(rate) == pytest.approx(12 / 101)
    low, high = rate.interval()
    assert low < 0.01
    assert high > 0.9
    one, other = of_sizes(sizes, right, right)
    agreeing = combined(0.0, [one, other], minus)
    assert isinstance(agreeing, Drawn)
    assert agreeing.interval()[1] > 0.9, "nothing is known of a second unit of 89 pairs"


def test_units_of_one_size_are_as_many_as_they_are() -> None:
    right = [True] * 7 + [False] * 6
    once, thrice = (of_sizes([size] * 13, right)[0].interval() for size in (1, 3))
    exact = binomtest(7, 13).proportion_ci(0.95)
    assert once == pytest.approx(thrice)
    assert once == pytest.approx((exact.low, exact.high), abs=0.003)


def test_differences_of_rates_over_units_of_any_sizes_cover() -> None:
    """0.95 comes out above 0.88 in 999 of 1,000 tests of so many runs."""
    generator = torch.Generator().manual_seed(1)
    hits, runs = 0, 100
    for _ in range(runs):
        u = torch.rand(20, generator=generator, dtype=torch.float64)
        sizes = (1 / u).floor().clamp_max(200).long().tolist()
        of = torch.rand(2, 20, generator=generator)
        one, other = of_sizes(sizes, (of[0] < 0.4).tolist(), (of[1] < 0.1).tolist())
        difference = combined(float(one) - float(other), [one, other], minus)
        assert isinstance(difference, Drawn)
        low, high = difference.interval()
        hits += low <= 0.3 <= high
    assert hits / runs >= 0.88


@pytest.mark.soak
def test_intervals_cover(simulate: dict[str, Any]) -> None:
    check_coverage(simulate["coverage"](), simulate["SIZES"], 0.0)
    found = simulate["templates"]()
    assert min(found["8 templates"]) >= 0.93
    assert min(found["12 templates"]) >= 0.93


@pytest.mark.soak
def test_many_looks_at_nothing(simulate: dict[str, Any]) -> None:
    marked, decided = simulate["errors"]().values()
    assert max(marked) <= 0.07
    assert max(decided) <= 0.06
