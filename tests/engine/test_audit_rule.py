"""The rule alone: every verdict, at the edges of its thresholds."""

from __future__ import annotations

import pytest

from causaldsl.engine.audit import rule
from causaldsl.engine.audit.rule import Facts, decide
from causaldsl.engine.bootstrap import Estimate


def near(value: float, width: float = 0.02, n: int = 100) -> Estimate:
    return Estimate(value, n, value - width, value + width)


MLP = {
    "effect": near(0.5),
    "whole": near(1.0),
    "active": near(0.5),
    "row": near(1.0),
    "neurons": near(0.95),
    "hidden": 0.1,
    "rank": 30,
}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "faithful"),
        ({"effect": near(0.06)}, "inconclusive"),
        ({"effect": near(-0.5)}, "inconclusive"),
        ({"row": near(0.2)}, "illusory"),
        ({"row": near(0.49)}, "inconclusive"),
        ({"row": near(0.7)}, "inconclusive"),
        ({"row": near(0.9, 0.2)}, "inconclusive"),
        ({"row": near(0.9, 0.05)}, "faithful"),
        ({"hidden": 0.6}, "faithful"),
        ({"hidden": 0.6, "neurons": near(0.1)}, "illusory"),
        ({"hidden": 0.6, "neurons": near(0.33)}, "inconclusive"),
        ({"hidden": 0.6, "neurons": near(0.6)}, "inconclusive"),
        ({"hidden": 0.6, "rank": 1}, "faithful"),
        ({"hidden": 0.6, "rank": 1, "active": near(0.25)}, "illusory"),
        ({"hidden": 0.6, "rank": 1, "active": near(0.33)}, "inconclusive"),
        ({"whole": near(0.1)}, "faithful"),
        ({"whole": near(0.1), "active": near(0.1)}, "illusory"),
        ({"active": near(0.1)}, "faithful"),
        ({"effect": near(0.5, n=10)}, "faithful"),
        ({"effect": near(0.5, n=9)}, "inconclusive"),
        ({"effect": near(0.5, n=1), "row": near(0.2)}, "inconclusive"),
        ({"effect": near(0.5, n=1), "row": near(0.2), "sampled": False}, "illusory"),
    ],
)
def test_mlp(change: dict, verdict: str) -> None:
    decision = decide(Facts(**{**MLP, **change}))
    assert decision.verdict == verdict
    assert decision.decided_by
    assert decision.rule.endswith(".")


@pytest.mark.parametrize(
    ("whole", "active", "verdict"),
    [
        (1.0, 1.0, "faithful"),
        (0.8, 0.5, "faithful"),
        (0.1, 0.1, "illusory"),
        (0.1, 0.9, "inconclusive"),
        (0.9, 0.1, "inconclusive"),
        (0.5, 0.1, "inconclusive"),
        (0.9, 0.33, "inconclusive"),
    ],
)
def test_residual_stream(whole: float, active: float, verdict: str) -> None:
    facts = Facts(effect=near(1.0), whole=near(whole), active=near(active))
    assert decide(facts).verdict == verdict


def test_a_row_share_that_nothing_moves_is_no_evidence() -> None:
    """Without an effect, shares of it are not looked at."""
    facts = Facts(effect=near(0.0), whole=None, active=None, row=None)
    assert decide(facts).decided_by == ("subspace effect",)


@pytest.mark.parametrize(
    ("constant", "value", "change", "words"),
    [
        ("HALF", 1 / 2, {"row": near(0.2)}, "more than twice that of its row part"),
        ("HALF", 2 / 5, {"row": near(0.2)}, "more than 2.5 times that of its row part"),
        ("HALF", 1 / 4, {"row": near(0.3)}, "neither clearly less than a quarter of its effect"),
        ("MOST", 0.9, {"row": near(0.6)}, "nor clearly more than 0.9 of it"),
        (
            "THIRD",
            1 / 3,
            {"hidden": 0.6, "rank": 1, "active": near(0.1)},
            "less than a third of the effect, the dormant rest more than two.",
        ),
        (
            "THIRD",
            1 / 4,
            {"hidden": 0.6, "rank": 1, "active": near(0.1)},
            "less than a quarter of the effect, the dormant rest more than three.",
        ),
        (
            "THIRD",
            0.3,
            {"hidden": 0.6, "rank": 1, "active": near(0.1)},
            "less than 0.3 of the effect, the dormant rest more than 0.7.",
        ),
        (
            "THIRD",
            1 / 4,
            {"hidden": 0.6, "rank": 1, "active": near(0.25)},
            "share of the effect contains one quarter.",
        ),
        ("THIRD", 1 / 4, {"hidden": 0.6, "neurons": near(0.1)}, "less than a quarter of its move"),
        ("NOTHING", 0.7, {}, "not clearly above 0.7"),
        ("FEW", 200, {}, "fewer than 200 says too little"),
    ],
)
def test_the_text_is_made_from_the_constants(
    constant: str, value: float, change: dict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, constant, value)
    assert words in decide(Facts(**{**MLP, **change})).rule
