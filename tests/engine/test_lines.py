"""Lines through measured points: draws go through them, what is withheld stays withheld."""

import math
from types import SimpleNamespace

import pytest
import torch

from causaldsl.check.units import apart
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Bootstrap
from causaldsl.engine.drawn import Drawn, Draws
from causaldsl.engine.words.numbers import compare, intercept, line_r2, slope

X = [1.0, 4.0, 16.0, 81.0]
SPREAD = Bootstrap(torch.Generator().manual_seed(0), 50, apart(9)).spread()
LOW = torch.randn(4, 50, generator=torch.Generator().manual_seed(1)).double()
WORDS = (slope, intercept, line_r2)


def points(high: torch.Tensor) -> list[float]:
    """Points whose values lie between LOW and these in every draw."""
    return [
        Drawn(float(low.mean()), lambda over, low=low, up=up: Draws(low, up, SPREAD))
        for low, up in zip(LOW, high, strict=True)
    ]


def test_a_line_is_drawn_with_its_points() -> None:
    y = points(LOW)
    for word in WORDS:
        found = word(y, X)
        assert float(found) == pytest.approx(word([float(one) for one in y], X))
        draws = found.draws()
        wanted = torch.tensor([word(one.tolist(), X) for one in LOW.T])
        assert draws.low == pytest.approx(wanted.double())
        assert draws.high == pytest.approx(wanted.double())


def test_points_that_may_lie_at_several_values() -> None:
    y = points(LOW + 0.5)
    generator = torch.Generator().manual_seed(2)
    for word in WORDS:
        draws = word(y, X).draws()
        for _ in range(20):
            inside = LOW + 0.5 * torch.rand(4, 50, generator=generator).double()
            found = torch.tensor([word(one.tolist(), X) for one in inside.T]).double()
            assert bool((draws.low <= found + 1e-9).all() and (found <= draws.high + 1e-9).all())
    assert bool(slope(y, X).draws().high.isfinite().all())


def test_points_of_which_nothing_is_known() -> None:
    y = points(torch.full_like(LOW, math.inf))
    assert set(slope(y, X).draws().high.tolist()) == {math.inf}
    assert set(line_r2(y, X).draws().high.tolist()) == {1.0}
    assert set(slope(X, y).draws().low.tolist()) == {-math.inf}
    assert set(slope(X, points(LOW + 0.5)).draws().high.tolist()) == {math.inf}


def test_what_is_withheld_stays_withheld() -> None:
    y = [1.0, 2.0, 3.0, Drawn(math.nan, withheld="it may be 0")]
    for word in WORDS:
        found = word(y, X)
        assert math.isnan(found)
        assert found.withheld == "it may be 0"


def test_no_line() -> None:
    for word in WORDS:
        with pytest.raises(RunFailure, match="two places"):
            word(X, [1.0] * 4)
    with pytest.raises(RunFailure, match="equal values"):
        line_r2([1.0] * 4, X)


@pytest.mark.parametrize("left", [math.nan, math.inf])
def test_a_claim_about_no_number_is_undecided(left: float) -> None:
    here = SimpleNamespace(word=SimpleNamespace(level=0.95, over="pairs"))
    verdict = compare(here, left, 0.2)
    assert verdict.held is None
    assert verdict.why == f"{left:g} compared with 0.2 says nothing"
