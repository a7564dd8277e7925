"""Intervals over pairs: against theory, and the same whether draws are kept or made in parts."""

from __future__ import annotations

import math

import pytest
import torch

from causaldsl.check.units import apart, units_of
from causaldsl.engine import bootstrap
from causaldsl.engine.bootstrap import Bootstrap, Spread


def numbers(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1 + torch.randn(n, generator=generator, dtype=torch.float64)


def fresh(resamples: int, n: int = 400) -> Bootstrap:
    return Bootstrap(torch.Generator().manual_seed(7), resamples, apart(n))


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    values = numbers(400, 1)
    found = fresh(4000).mean(values)
    half = 1.96 * float(values.std(correction=0)) / math.sqrt(400)
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.low == pytest.approx(found.mean - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.1 * half)


def test_the_interval_of_a_ratio_is_that_of_the_delta_method() -> None:
    top, bottom = numbers(400, 1), 3 + numbers(400, 2)
    found = fresh(4000).ratio(top, bottom)
    residual = (top - found.mean * bottom) / bottom.mean()
    half = 1.96 * float(residual.std(correction=0)) / math.sqrt(400)
    assert found.mean == pytest.approx(float(top.mean() / bottom.mean()))
    assert found.low == pytest.approx(found.mean - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.1 * half)


def test_draws_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    top, bottom = numbers(30, 1), numbers(30, 2)
    whole = fresh(200, 30)
    monkeypatch.setattr(bootstrap, "_KEPT", 30 * 64)
    parts = fresh(200, 30)
    assert parts.mean(top) == whole.mean(top) == parts.mean(top)
    assert not parts._kept
    assert parts.ratio(top, bottom) == whole.ratio(top, bottom)


def test_every_number_has_the_same_draws() -> None:
    top, bottom = numbers(30, 1), numbers(30, 2)
    one = fresh(200, 30)
    assert [one.mean(top), one.mean(top), one.ratio(top, bottom)] == [
        fresh(200, 30).mean(top),
        fresh(200, 30).mean(top),
        fresh(200, 30).ratio(top, bottom),
    ]


def test_draws_spread_as_a_stratified_mean_does() -> None:
    """Strata of different sizes: the variance is sum_h (n_h / n)^2 s_h^2 / n_h."""
    labels = ["many"] * 20 + ["two"] * 2 + ["three"] * 3
    made = Bootstrap(
        torch.Generator().manual_seed(7), 20000, units_of([[i] for i in range(25)], labels)
    )
    values = numbers(25, 3)
    parts = [values[:20], values[20:22], values[22:]]
    wanted = sum((len(part) / 25) ** 2 * float(part.var()) / len(part) for part in parts)
    drawn = made.means([values])[0]
    assert float(drawn.var()) * made.spread().short == pytest.approx(wanted, rel=0.03)
    assert float(drawn.mean()) == pytest.approx(float(values.mean()), abs=0.01)


def test_a_number_from_two_sets_is_as_unsure_as_either() -> None:
    few, twos = Spread.of(12), Spread.of(40, 20)
    both = Spread.widest([few, twos])
    assert (both.n, both.free, both.short) == (12, 11, 2.0)
    assert both.tail() < min(few.tail(), twos.tail())
