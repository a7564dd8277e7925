"""The rule alone: every verdict at the edges of its thresholds, and no sentence that is not so."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace

import pytest

from causaldsl.engine.audit.rule import Bounds, Facts, decide
from causaldsl.engine.bootstrap import Estimate
from tests.engine.sentences import read


def near(value: float, width: float = 0.02, n: int = 100) -> Estimate:
    return Estimate(value, n, value - width, value + width)


STREAM = Facts(
    effect=near(0.5),
    first=near(0.95),
    second=near(1.0),
    within=near(0.8),
    whole=near(1.0),
    length=0.95,
    along=0.5,
)
UNCLEAR = replace(STREAM, first=near(0.5))
MLP = replace(UNCLEAR, neurons=near(0.95), clip=near(0.9))
GONE = {"first": near(0.1), "second": near(0.2), "within": near(0.3)}


@pytest.mark.parametrize(
    ("facts", "change", "verdict"),
    [
        (STREAM, {}, "faithful"),
        (STREAM, {"effect": near(0.06)}, "inconclusive"),
        (STREAM, {"effect": near(-0.5)}, "inconclusive"),
        (STREAM, {"effect": near(0.5, 0.6)}, "inconclusive"),
        (STREAM, {"effect": near(0.5, n=10)}, "faithful"),
        (STREAM, {"effect": near(0.5, n=9)}, "inconclusive"),
        (STREAM, {"effect": near(0.5, n=1), "sampled": False}, "faithful"),
        (STREAM, {"first": near(0.67)}, "inconclusive"),
        (STREAM, {"first": near(1.4)}, "inconclusive"),
        (STREAM, {"second": near(0.67)}, "inconclusive"),
        (STREAM, {"second": near(1.4)}, "inconclusive"),
        (STREAM, {"within": near(0.5)}, "inconclusive"),
        (STREAM, {"whole": near(1.4)}, "inconclusive"),
        (STREAM, {"length": 0.6}, "inconclusive"),
        (STREAM, {"along": 1.0}, "faithful"),
        (STREAM, GONE, "illusory"),
        (STREAM, {**GONE, "first": near(0.33)}, "inconclusive"),
        (STREAM, {**GONE, "second": near(0.33)}, "inconclusive"),
        (STREAM, {**GONE, "within": near(0.66)}, "inconclusive"),
        (STREAM, {**GONE, "along": 0.95}, "inconclusive"),
        (STREAM, {**GONE, "whole": near(5.0)}, "illusory"),
        (UNCLEAR, {}, "inconclusive"),
        (UNCLEAR, {"first": None}, "inconclusive"),
        (MLP, {}, "faithful"),
        (MLP, {"first": near(0.95)}, "faithful"),
        (MLP, {"neurons": near(0.8)}, "inconclusive"),
        (MLP, {"clip": near(0.8)}, "inconclusive"),
        (MLP, {"clip": near(1.4)}, "inconclusive"),
        (MLP, {"clip": near(0.1)}, "inconclusive"),
        (MLP, {"clip": near(0.1), "neurons": near(0.2)}, "illusory"),
        (MLP, {"clip": near(0.1), "neurons": near(0.7)}, "illusory"),
        (MLP, {"clip": near(0.33), "neurons": near(0.2)}, "inconclusive"),
        (MLP, {**GONE, "neurons": near(0.6), "clip": near(0.6)}, "illusory"),
        (MLP, GONE, "inconclusive"),
        (MLP, {"clip": near(0.1), "neurons": near(0.2), "first": near(0.95)}, "inconclusive"),
    ],
)
def test_verdicts(facts: Facts, change: dict, verdict: str) -> None:
    decision = decide(replace(facts, **change))
    assert decision.verdict == verdict
    assert decision.decided_by
    assert decision.rule.endswith(".")


def test_a_contradiction_says_which_two() -> None:
    decision = decide(replace(MLP, **GONE))
    assert "Two pieces contradict each other" in decision.rule
    assert "The first points to a feature (natural neurons 0.95 (0.93 to 0.97)," in decision.rule
    assert "the second to an illusion (principal components 0.10 (0.08" in decision.rule
    assert {"natural neurons", "clip", "principal components"} <= set(decision.decided_by)


_IN = "in the components that hold {} of the variance"
_CUT = "cut to what each {} does by itself it"


@pytest.mark.parametrize(
    ("facts", "change", "deciding", "words"),
    [
        (
            STREAM,
            {"whole": Estimate(1.16, 100, 1.03, 1.3387)},
            ["whole component"],
            "Principal components would point to a feature, but the whole component may have more "
            "than 4/3 of its effect: 1.16, up to 1.34.",
        ),
        (
            STREAM,
            {"whole": near(1.4)},
            ["whole component"],
            "but the whole component has more than 4/3 of its effect: 1.40, down to 1.38.",
        ),
        (
            STREAM,
            {"first": near(0.67)},
            ["principal components"],
            f"feature, but less than two thirds of its effect may lie {_IN.format('99%')}: 0.67, "
            "down to 0.65.",
        ),
        (
            STREAM,
            {"first": near(1.4)},
            ["principal components"],
            f"feature, but more than 4/3 of its effect lies {_IN.format('99%')}: 1.40, down to",
        ),
        (
            STREAM,
            {"second": near(0.6)},
            ["more principal components"],
            f"feature, but less than two thirds of its effect lies {_IN.format('99.9%')}: 0.60, up "
            "to 0.62.",
        ),
        (
            STREAM,
            {"second": near(1.32)},
            ["more principal components"],
            f"but more than 4/3 of its effect may lie {_IN.format('99.9%')}: 1.32, up to 1.34.",
        ),
        (
            STREAM,
            {"length": 0.6},
            ["principal components"],
            f"but less than two thirds of its squared length lies {_IN.format('99%')}: 0.60.",
        ),
        (
            STREAM,
            {"within": near(0.5)},
            ["clip in components"],
            f"feature, but {_CUT.format('component')} may keep less than half of its effect: 0.50, "
            "down to 0.48.",
        ),
        (
            STREAM,
            {**GONE, "within": near(0.66)},
            ["clip in components"],
            f"illusion, but {_CUT.format('component')} may keep more than two thirds of its effect",
        ),
        (
            STREAM,
            {**GONE, "along": 0.95},
            ["principal components"],
            "illusion, but more than 0.9 of its part in them is along the mean change, from which "
            "nothing else can be told apart: 0.95.",
        ),
        (
            STREAM,
            {**GONE, "second": near(0.33)},
            ["more principal components"],
            f"illusion, but more than a third of its effect may lie {_IN.format('99.9%')}: 0.33,",
        ),
        (
            STREAM,
            {"first": near(0.5), "second": near(0.5)},
            ["principal components", "more principal components", "clip in components"],
            "Principal components point neither to a feature (less than two thirds of its effect",
        ),
        (
            MLP,
            {"neurons": near(0.8)},
            ["natural neurons", "principal components"],
            "Neurons would point to a feature, but less than 0.8 of its movement of neurons may be "
            "movement that they make by themselves: 0.80, down to 0.78. Principal components",
        ),
        (
            MLP,
            {"clip": near(0.7)},
            ["clip", "principal components"],
            f"feature, but {_CUT.format('neuron')} keeps less than 0.8 of its effect: 0.70, up to",
        ),
        (
            MLP,
            {"clip": near(1.4)},
            ["clip", "principal components"],
            f"feature, but {_CUT.format('neuron')} keeps more than 4/3 of its effect: 1.40, down",
        ),
        (
            MLP,
            {"clip": near(0.1)},
            ["clip", "natural neurons", "principal components"],
            "nor to an illusion (more than 0.8 of its movement of neurons is movement that they "
            "make by themselves: 0.95, down to 0.93).",
        ),
        (
            MLP,
            {"neurons": near(0.5), "clip": near(0.32)},
            ["natural neurons", "clip", "principal components"],
            f"nor to an illusion ({_CUT.format('neuron')} may keep more than a third of its effect",
        ),
        (
            STREAM,
            {"effect": near(0.06)},
            ["subspace effect"],
            "so there may be nothing to explain: 0.06 (0.04 to 0.08).",
        ),
        (
            STREAM,
            {"effect": near(-0.5)},
            ["subspace effect"],
            "as no feature does: -0.50 (-0.52 to -0.48).",
        ),
        (STREAM, {"effect": near(0.5, n=9)}, ["subspace effect"], "on 9 independent pairs"),
        (STREAM, {"within": None}, ["subspace effect"], "There is no natural movement"),
    ],
)
def test_an_inconclusive_one_names_what_stands_in_the_way(
    facts: Facts, change: dict, deciding: list[str], words: str
) -> None:
    """That alone decided, and the sentence has its numbers."""
    decision = decide(replace(facts, **change))
    assert decision.verdict == "inconclusive"
    assert list(decision.decided_by) == deciding
    assert words in decision.rule


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            Estimate(1.3, 100, 1.2, 1.3334),
            "may have more than 4/3 of its effect: 1.30, up to 1.3334",
        ),
        (near(4 / 3, 0), "has no less than 4/3 of its effect: 1.333333"),
        (Estimate(1.4, 100, 1.3334, 1.5), "has more than 4/3 of its effect: 1.40, down to 1.3334"),
    ],
)
def test_no_number_is_rounded_over_its_bound(value: Estimate, said: str) -> None:
    assert said in decide(replace(STREAM, whole=value)).rule


def drawn(chance: random.Random) -> Facts:
    """A clear case, of which some numbers are others."""

    def some() -> Estimate:
        value = chance.choice((0.0, 0.3, 0.35, 0.6, 0.7, 0.85, 1.0, 1.3, 1.5)) + chance.gauss(
            0, 0.1
        )
        return near(value, chance.choice((0.01, 0.05, 0.2)))

    neurons = chance.choice(
        ({}, {"neurons": near(0.95), "clip": near(0.9)}, {"neurons": near(0.1), "clip": near(0.1)})
    )
    facts = replace(STREAM, **chance.choice(({}, GONE)), **neurons)
    numbers = ["first", "second", "within", "whole", *neurons]
    changed = {name: some() for name in numbers if chance.random() < 0.4}
    effect = near(
        chance.choice((0.02, 0.07, 0.5, 0.5, 0.5, 0.5, -0.05, -0.5)), chance.choice((0.02, 0.1))
    )
    return replace(facts, effect=effect, length=chance.random(), along=chance.random(), **changed)


def shown(facts: Facts) -> dict[str, Estimate | float]:
    """The numbers under the names that reports show them under."""
    named = {
        "subspace effect": facts.effect,
        "natural neurons": facts.neurons,
        "clip": facts.clip,
        "principal components": facts.first,
        "more principal components": facts.second,
        "clip in components": facts.within,
        "whole component": facts.whole,
        "length in them": facts.length,
        "along the mean change": facts.along,
    }
    return {name: value for name, value in named.items() if value is not None}


def test_no_verdict_states_what_its_evidence_denies() -> None:
    """Each clause of every rule is read anew, and is so in the numbers, also with other bounds."""
    chance = random.Random(0)
    seen = Counter[str]()
    for i in range(6000):
        facts = drawn(chance)
        bounds = Bounds()
        if i % 2:
            low, high = sorted((chance.random(), chance.random()))
            given = {"low": low, "high": high, "half": chance.random(), "most": chance.random()}
            given |= {"apart": chance.random(), "nothing": chance.random() / 10}
            bounds = replace(bounds, few=chance.choice((10, 101)), **rounded(given))
        decision = decide(facts, bounds)
        ways = read(decision.rule, decision.verdict, shown(facts))
        seen[decision.verdict] += 1
        seen["contradicting"] += set(ways) == {"feature", "illusion"}
    assert min(seen[what] for what in ("faithful", "illusory", "contradicting")) >= 30


def rounded(given: dict[str, float]) -> dict[str, float]:
    """To as many digits as a sentence shows."""
    return {name: float(f"{value:g}") for name, value in given.items()}


def test_a_reader_that_believes_nothing() -> None:
    """It finds a number that is not so, a bound, a way, and a clause that nobody knows."""
    facts = replace(MLP, first=near(0.95))
    decision = decide(facts)
    rule = decision.rule
    assert read(rule, "faithful", shown(facts)) == ["feature", "feature"]
    for change in ({"neurons": near(0.7)}, {"clip": near(0.7)}, {"second": near(0.6)}):
        with pytest.raises(AssertionError):
            read(rule, "faithful", shown(replace(facts, **change)))
    for text, verdict in (
        (rule, "illusory"),
        (rule.replace("0.8 of its movement", "0.95 of its movement"), "faithful"),
        (rule.replace("two thirds", "0.99"), "faithful"),
        (rule + " It is dormant.", "faithful"),
    ):
        with pytest.raises(AssertionError):
            read(text, verdict, shown(facts))


@pytest.mark.parametrize(
    ("bound", "value", "change", "words"),
    [
        ("most", 0.7, {}, "more than 0.7 of its effect"),
        ("most", 3 / 4, {}, "ore than three quarters of its movement of neurons"),
        ("low", 1 / 4, {"clip": near(0.1), "neurons": near(0.2)}, "less than a quarter of its"),
        ("high", 3 / 4, {"first": near(0.95)}, "More than three quarters of its effect lies"),
        ("half", 1 / 4, {"first": near(0.95)}, "keeps more than a quarter of it"),
        ("nothing", 0.7, {}, "not clearly above 0.7"),
        ("few", 200, {}, "fewer than 200 says too little"),
        ("apart", 0.3, {"neurons": near(0.5), **GONE}, "more than 0.3 of its part in them"),
    ],
)
def test_the_text_is_made_from_the_constants(
    bound: str, value: float, change: dict, words: str
) -> None:
    facts = replace(MLP, **change)
    assert words in decide(facts, replace(Bounds(), **{bound: value})).rule


def test_wider_bounds_never_turn_a_verdict_round() -> None:
    chance = random.Random(1)
    for facts, by in itertools.product([drawn(chance) for _ in range(2000)], (0.05, 0.1)):
        narrow, wide = (
            replace(Bounds(), low=1 / 3 - x, high=2 / 3 + x, most=0.8 + x) for x in (by, -by)
        )
        strict, loose = decide(facts, narrow).verdict, decide(facts, wide).verdict
        assert "inconclusive" in (strict, loose) or strict == loose
