"""Claims are decided by intervals of what they say, worked out draw by draw.

The oracle has every pair measured by itself, in a run over that one pair alone, and draws pairs
with a generator of its own. Both intervals come from a few thousand draws, so they agree within a
twentieth of their width.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, norm
from scipy.stats import t as student

from causaldsl import api
from causaldsl.check.units import apart, units_of
from causaldsl.cli import main
from causaldsl.diagnostics import ProgramError
from causaldsl.engine import lift
from causaldsl.engine.bootstrap import Bootstrap, Spread, all_ends
from causaldsl.engine.drawn import Drawn, Draws, absolute, combined, extreme, minus, squared
from causaldsl.engine.metrics import auc
from causaldsl.engine.registry import Evaluator
from causaldsl.engine.words.numbers import (
    _decided,
    average,
    intercept,
    line_r2,
    slope,
)
from tests.tiny import NAMES, PLACES, tiny_folder

N = 24
VERDICTS = {"held": 0, "fell": 1, "undecided": 4}


def line(number: int, **more: str) -> dict[str, str]:
    first, second, place = NAMES[number], NAMES[number + 1], PLACES[number % 10]
    return {
        "base": f"When {first} and {second} went to the {place} {second} said",
        "source": f"When {first} and {second} went to the {place} {first} said",
        "answer": f" {first}",
        "foil": f" {second}",
        **more,
    }


def write(path: Path, lines: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))


ARMS = "{ a = patch resid_post[1] @ END  b = patch mlp_out[1] @ END  report logit_diff }"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, pairs that are each a unit of its own, and the program's head."""
    folder = tmp_path_factory.mktemp("claims")
    tiny_folder(folder, "llama").rename(folder / "lm")
    lines = [line(i) for i in range(0, 2 * N, 2) if i + 1 < len(NAMES)]
    lines += [line(i) for i in range(1, 2 * N, 2) if i + 1 < len(NAMES)]
    # Neighbouring pairs share a name but no prompt.
    write(folder / "pairs.jsonl", lines[:N])
    for number, each in enumerate(lines[:N]):
        write(folder / f"one{number}.jsonl", [each])
    return folder


def run(world: Path, text: str) -> api.Run:
    path = world / "claims.cpatch"
    path.write_text(f'model lm = "./lm"\npairs ours = jsonl("pairs.jsonl")\n{text}\n')
    return api.run(path, dtype="float64")


@pytest.fixture(scope="module")
def by_pair(world: Path) -> dict[str, np.ndarray]:
    """The logit difference of every arm in every pair, each measured alone."""
    lines = [f'pairs p{i} = jsonl("one{i}.jsonl")\nmeasure m{i} on p{i} {ARMS}' for i in range(N)]
    measures = run(world, "\n".join(lines)).results.measures
    return {
        arm: np.array([measures[f"m{i}"][arm]["logit_diff"].mean for i in range(N)])
        for arm in ("clean", "a", "b")
    }


def interval(numbers: Any, statistic: Any, level: float = 0.95) -> tuple[float, float]:
    """The expanded percentile interval of a statistic of means, by other draws than the run's."""
    n = len(next(iter(numbers.values())))
    rng = np.random.default_rng(5)
    rows = rng.integers(0, n, (40000, n))
    drawn = statistic({arm: values[rows].mean(1) for arm, values in numbers.items()})
    tail = norm.cdf(np.sqrt(n / (n - 1)) * student.ppf((1 - level) / 2, n - 1))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


EXPRESSIONS = {
    "m.a.logit_diff - m.b.logit_diff": lambda m: m["a"] - m["b"],
    "abs(m.a.logit_diff - 9)": lambda m: np.abs(m["a"] - 9),
    "m.a.logit_diff * m.b.logit_diff + 2": lambda m: m["a"] * m["b"] + 2,
    "(m.a.logit_diff - m.b.logit_diff) / (10 + m.clean.logit_diff)": (
        lambda m: (m["a"] - m["b"]) / (10 + m["clean"])
    ),
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_has_its_own_interval(
    world: Path, by_pair: dict[str, np.ndarray], expression: str
) -> None:
    """Not that of its parts: they are measured on the same pairs."""
    statistic = EXPRESSIONS[expression]
    found = run(world, f"measure m on ours {ARMS}\nlet it = {expression}\nexpect it > 0")
    (claim,) = found.results.expectations
    low, high = interval(by_pair, statistic)
    width = high - low
    assert claim.difference == pytest.approx(
        float(statistic({arm: values.mean() for arm, values in by_pair.items()}))
    )
    assert claim.low == pytest.approx(low, abs=width / 20)
    assert claim.high == pytest.approx(high, abs=width / 20)
    assert claim.n == N
    number = found.results.intervals["it"]
    assert (number.low, number.high) == pytest.approx((claim.low, claim.high))


def test_the_interval_decides(world: Path, by_pair: dict[str, np.ndarray]) -> None:
    low, high = interval(by_pair, lambda m: m["a"] - m["b"])
    middle, width = (low + high) / 2, high - low
    for sign, at, verdict in (
        (">", low - width / 5, "held"),
        (">", middle, "undecided"),
        (">", high + width / 5, "fell"),
        ("<=", low - width / 5, "fell"),
        ("<=", middle, "undecided"),
        ("<=", high + width / 5, "held"),
    ):
        claim = f"expect m.a.logit_diff - m.b.logit_diff {sign} {at:.6f}".replace("> -", "> 0 - ")
        claim = claim.replace("<= -", "<= 0 - ")
        found = run(world, f"measure m on ours {ARMS}\n{claim}")
        assert found.results.expectations[0].verdict == verdict, claim
        assert found.verdict == verdict


def test_more_certainty_takes_a_wider_interval(world: Path, by_pair: dict[str, np.ndarray]) -> None:
    _, high = interval(by_pair, lambda m: m["a"] - m["b"])
    _, wider = interval(by_pair, lambda m: m["a"] - m["b"], 0.999)
    at = (high + wider) / 2
    text = f"measure m on ours {ARMS}\nexpect m.a.logit_diff - m.b.logit_diff < {at}"
    assert run(world, text).verdict == "held"
    assert run(world, f"{text} at 0.999").verdict == "undecided"


@pytest.mark.parametrize(("claim", "code"), [(">", 0), ("<", 1)])
def test_exit_codes(world: Path, claim: str, code: int, tmp_path: Path) -> None:
    path = world / "codes.cpatch"
    head = f'model lm = "./lm"\npairs ours = jsonl("pairs.jsonl")\nmeasure m on ours {ARMS}\n'
    path.write_text(f"{head}expect m.a.logit_diff {claim} 0 - 100\n")
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == code
    path.write_text(f"{head.replace('pairs.jsonl', 'one1.jsonl')}expect m.a.logit_diff > 0\n")
    assert main(["run", str(path), "--out", str(tmp_path / "open")]) == VERDICTS["undecided"]


def test_units_are_what_is_new(world: Path) -> None:
    """Equal lines, mirrors, pairs with a prompt in common and clusters each count once."""
    mirrored = line(3) | {"base": line(3)["source"], "source": line(3)["base"]}
    for lines, units in (
        ([line(0)] * 41, 1),
        ([line(3), mirrored, line(5)], 2),
        ([line(0), line(0) | {"source": line(2)["source"]}, line(4)], 2),
        ([line(0, cluster="x"), line(2, cluster="x"), line(4)], 2),
    ):
        write(world / "units.jsonl", lines)
        found = run(world, f'pairs some = jsonl("units.jsonl")\nmeasure m on some {ARMS}').results
        assert found.measures["m"]["a"]["logit_diff"].n == units
        assert any(f"{len(lines)} pairs are {units} unit" in note for note in found.notes)


def test_a_unit_with_most_pairs_is_named(world: Path) -> None:
    """Nine pairs of a cluster beside four others are five units, and as unsure as 1.99."""
    lines = [line(i, cluster="x") for i in range(9)] + [line(i) for i in range(9, 13)]
    for some, named in ((lines, True), (lines[7:], False)):
        write(world / "uneven.jsonl", some)
        found = run(world, f'pairs some = jsonl("uneven.jsonl")\nmeasure m on some {ARMS}').results
        said = [note for note in found.notes if "mostly about few units" in note]
        assert bool(said) == named
        if said:
            assert said[0].startswith("some: the largest of 5 units has 9 of 13 pairs, so ")
            assert said[0].endswith("as unsure as that of 2.0 units of one size")


def test_clusters_are_drawn_as_one(world: Path, by_pair: dict[str, np.ndarray]) -> None:
    """Each pair twice is as good as each pair once."""
    lines = (world / "pairs.jsonl").read_text().splitlines()
    (world / "twice.jsonl").write_text("\n".join(each for each in lines for _ in range(2)))
    found = run(world, f'pairs twice = jsonl("twice.jsonl")\nmeasure m on twice {ARMS}').results
    number = found.measures["m"]["a"]["logit_diff"]
    low, high = interval({"a": by_pair["a"]}, lambda m: m["a"])
    assert number.mean == pytest.approx(float(by_pair["a"].mean()))
    assert (number.low, number.high) == pytest.approx((low, high), abs=(high - low) / 20)


def test_templates_are_strata() -> None:
    """Between templates nothing varies, however far apart they are."""
    units = units_of([[i] for i in range(40)], [str(i % 2) for i in range(40)])
    made = Bootstrap(torch.Generator().manual_seed(0), 2000, units)
    noise = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    far = noise + 100 * (torch.arange(40) % 2)
    near = made.mean(noise)
    found = made.mean(far)
    assert (found.high - found.low) == pytest.approx(near.high - near.low, rel=1e-6)
    over = made.means([far], "templates")[0]
    assert float(over.std()) > 30


def test_templates_with_one_unit_are_drawn_together() -> None:
    units = units_of([[i] for i in range(5)], ["a", "a", "b", "c", "c"])
    assert units.strata == (0, 0, 0, 1, 1)
    assert units.free == 3


def test_over_templates_needs_five(world: Path) -> None:
    lines = [line(2 * i, template=f"t{i % 5}") for i in range(18)]
    write(world / "five.jsonl", lines)
    text = f'pairs some = jsonl("five.jsonl")\nmeasure m on some {ARMS}\n'
    claim = "expect m.a.logit_diff > 0 - 1000 over templates"
    (found,) = run(world, text + claim).results.expectations
    assert (found.n, found.over, found.verdict) == (5, "templates", "held")
    write(world / "five.jsonl", [each for each in lines if each["template"] != "t0"])
    with pytest.raises(ProgramError) as error:
        run(world, text + claim)
    assert error.value.diagnostics[0].code == "few-templates"


def test_over_templates_needs_units_of_one_each(world: Path) -> None:
    """Where a cluster goes through all templates, none of them is drawn without the others."""
    lines = [line(2 * i, template=f"t{i % 6}", cluster=f"c{i // 6}") for i in range(18)]
    write(world / "crossed.jsonl", lines)
    text = f'pairs some = jsonl("crossed.jsonl")\nmeasure m on some {ARMS}\n'
    with pytest.raises(ProgramError) as error:
        run(world, f"{text}expect m.a.logit_diff > 0 over templates")
    (found,) = error.value.diagnostics
    assert found.code == "few-templates"
    assert "have 3 units that are each from several" in found.message
    units = units_of([["a"], ["b"], ["a"], ["b"], ["c"]], ["t0", "t0", "t1", "t1", "t2"])
    assert (units.of_template, units.templates) == ((0, 0, 1), ("t0", "t2"))
    assert (units.from_templates, units.mixed) == (2, 2)
    made = Bootstrap(torch.Generator().manual_seed(0), 100, units)
    assert made.spread("templates").n == 2
    assert made.means([torch.arange(5.0)], "templates")[0].isfinite().all()


def test_a_rate_has_the_exact_interval(world: Path) -> None:
    text = ARMS.replace("logit_diff", "positive_rate, interchange_accuracy")
    found = run(world, f"measure m on ours {text}\nexpect m.a.positive_rate > 0").results
    for arm in ("clean", "a"):
        for number in found.measures["m"][arm].values():
            k = round(number.mean * N)
            low = beta.ppf(0.025, k, N - k + 1) if k else 0.0
            high = beta.ppf(0.975, k + 1, N - k) if k < N else 1.0
            assert (number.low, number.high) == pytest.approx((low, high))
            assert number.low < number.high
    claim, number = found.expectations[0], found.measures["m"]["a"]["positive_rate"]
    assert claim.low == pytest.approx(number.low, abs=0.01)
    assert claim.high == pytest.approx(number.high, abs=0.01)


def test_a_ratio_to_nothing_is_withheld(world: Path) -> None:
    """Pairs in both directions cancel, so the clean mean is 0 within its interval."""
    both = [line(i) for i in range(0, 16, 2)]
    both += [each | {"answer": each["foil"], "foil": each["answer"]} for each in both]
    for number, each in enumerate(both):
        each["cluster"] = str(number)
    write(
        world / "both.jsonl",
        [{**e, "base": "Then " + e["base"]} if i > 7 else e for i, e in enumerate(both)],
    )
    arms = ARMS.replace("logit_diff", "logit_diff, fldd")
    found = run(
        world,
        f'pairs both = jsonl("both.jsonl")\nmeasure m on both {arms}\nexpect m.a.fldd > 0 - 1000',
    ).results
    clean = found.measures["m"]["clean"]["logit_diff"]
    assert clean.low < 0 < clean.high
    assert np.isnan(found.measures["m"]["a"]["fldd"].mean)
    assert found.expectations[0].verdict == "undecided"
    assert "may be 0" in found.expectations[0].why
    assert json.loads(found.model_dump_json())["measures"]["m"]["a"]["fldd"]["mean"] is None


def drawn(numbers: torch.Tensor) -> list[Drawn]:
    """The means of columns of numbers by pair (n, c)."""
    made = Bootstrap(torch.Generator().manual_seed(3), 2000, apart(len(numbers)))
    draws = made.of_columns(numbers)

    def number(c: int) -> Drawn:
        return Drawn(
            float(numbers[:, c].mean()),
            lambda over: Draws(draws[:, c], draws[:, c], made.spread(over)),
        )

    return [number(c) for c in range(numbers.shape[1])]


def test_the_largest_of_many_is_not_the_only_one() -> None:
    """Of 200 numbers without effect the largest has an interval that holds for all of them."""
    generator = torch.Generator().manual_seed(11)
    numbers = torch.randn(40, 200, generator=generator, dtype=torch.float64)
    alone = max(drawn(numbers), key=float)
    assert alone.interval()[0] > 0
    largest, smallest = extreme(drawn(numbers), 1), extreme(drawn(numbers), -1)
    assert isinstance(largest, Drawn)
    assert isinstance(smallest, Drawn)
    assert float(largest) == float(alone)
    assert largest.interval()[0] < 0
    assert smallest.interval()[1] > 0
    numbers[:, 7] += 3
    clear = extreme(drawn(numbers), 1)
    assert isinstance(clear, Drawn)
    assert 1 < clear.interval()[0] < float(clear) < clear.interval()[1]


def held_above(number: float, margin: float) -> bool:
    difference = combined(float(number) - margin, [number, margin], minus)
    assert isinstance(difference, Drawn)
    return difference.interval()[0] > 0


def test_a_size_is_not_positive_by_being_one() -> None:
    """Numbers that are 0 in truth (with an error of 0.16): none is large, nor are several."""
    generator = torch.Generator().manual_seed(5)
    held = {"one": 0, "square": 0, "five": 0, "ten": 0}
    runs = 200
    for _ in range(runs):
        some = drawn(torch.randn(40, 10, generator=generator, dtype=torch.float64))
        sizes = [absolute(one) for one in some]
        held["one"] += held_above(sizes[0], 0)
        held["square"] += held_above(squared(some[0]), 0)
        held["five"] += held_above(average(sizes[:5]), 0.05)
        held["ten"] += held_above(average(sizes), 0.05)
    assert max(held.values()) <= 0.05 * runs, held


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_size_is_decided_where_it_can_be(sign: int) -> None:
    noise = torch.randn(40, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (near,) = drawn(noise - noise.mean() + 0.1 * sign)
    (far,) = drawn(noise - noise.mean() + 3 * sign)
    low, high = far.interval()
    size, small = absolute(far), absolute(near)
    assert isinstance(size, Drawn)
    assert size.interval() == pytest.approx((low, high) if sign > 0 else (-high, -low))
    assert held_above(size, 2)
    assert held_above(squared(far), 4)
    assert isinstance(small, Drawn)
    assert 0.3 < small.interval()[1] < 0.6
    assert not held_above(small, 0)


def test_a_line_has_draws() -> None:
    """Those of the lines through the values in each draw; numpy fits them."""
    noise = torch.randn(40, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    values, places = drawn(noise + torch.tensor([0.0, 1, 1, 3])), [0.0, 1.0, 2.0, 5.0]
    draws = np.stack([each.draws().low.numpy() for each in values])
    rise, start = np.polyfit(places, draws, 1)
    fitted = rise * np.array(places)[:, None] + start
    share = 1 - ((draws - fitted) ** 2).sum(0) / ((draws - draws.mean(0)) ** 2).sum(0)
    for function, expected in ((slope, rise), (intercept, start), (line_r2, share)):
        found = function(list(values), places)
        assert isinstance(found, Drawn)
        assert found.draws().low.numpy() == pytest.approx(expected)
        assert found.draws().high.numpy() == pytest.approx(expected)
        assert isinstance(function([float(each) for each in values], places), float)
        none = function([*values[:3], Drawn(float("nan"), withheld="no number")], places)
        assert isinstance(none, Drawn)
        assert none.withheld == "no number"
    assert float(slope(list(values), places)) == pytest.approx(
        np.polyfit(places, [float(each) for each in values], 1)[0]
    )


def test_rounding_decides_nothing_alone() -> None:
    assert _decided(">", -0.5, 0.04, 0.05) is None
    assert _decided("<", -0.04, 0.5, 0.05) is None
    assert _decided(">=", -0.04, 0.5, 0.05) is None
    assert _decided(">=", 0.0, 0.5, 0.05) is True
    assert _decided(">", 0.04, 0.5, 0.05) is None
    assert _decided(">", 0.06, 0.5, 0.05) is True
    assert _decided(">", -0.04, 0.04, 0.05) is False
    assert _decided("==", 0.04, 0.04, 0.05) is True


def test_a_measured_zero_costs_its_own_claim(world: Path) -> None:
    arms = "{ a = patch resid_post[1] @ END  b = patch resid_pre[0] @ 0  report flip_rate }"
    text = f"measure m on ours {arms}\nexpect m.a.flip_rate / m.b.flip_rate > 0\n"
    first, second = run(world, f"{text}expect m.a.flip_rate >= 0").results.expectations
    assert (first.verdict, second.verdict) == ("undecided", "held")
    assert "division by zero" in first.why


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_is_wide_in_an_expression_too(sign: int) -> None:
    """One cell is as large as w in truth, and moves with it: their difference is seldom decided."""
    generator, runs, decided = torch.Generator().manual_seed(8), 60, 0
    for _ in range(runs):
        numbers = torch.randn(40, 42, generator=generator, dtype=torch.float64) / 2
        numbers[:, 0] += 1
        numbers[:, 41] = 1 + 1.7 * (numbers[:, 0] - 1)
        *cells, other = drawn(numbers * sign)
        largest = extreme(cells, sign)
        difference = combined(float(largest) - float(other), [largest, other], minus)
        assert isinstance(difference, Drawn)
        low, high = difference.interval()
        decided += low > 0 or high < 0
    assert decided <= 0.05 * runs


def test_the_largest_is_wide_at_its_own_level() -> None:
    noise = torch.randn(40, 30, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    largest = extreme(drawn(noise), 1)
    assert isinstance(largest, Drawn)
    factors = [largest.draws().factor(level) for level in (0.8, 0.95, 0.99)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] > factors[1] + 0.1 > factors[2] + 0.15 > 1.3


def test_the_largest_size_of_many_is_not_positive_by_being_one() -> None:
    generator, runs, held = torch.Generator().manual_seed(6), 60, 0
    for _ in range(runs):
        numbers = torch.randn(40, 30, generator=generator, dtype=torch.float64)
        held += held_above(extreme([absolute(one) for one in drawn(numbers)], 1), 0)
    assert held <= 0.1 * runs


def test_a_package_s_function_keeps_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a rate, whose lower and upper values differ, and where it falls as the rate rises."""
    monkeypatch.setattr(lift, "package_of", lambda word: "theirs")
    low = torch.linspace(0.1, 0.4, 100, dtype=torch.float64)
    rate = Drawn(0.3, lambda over: Draws(low, low + 0.2, Spread.of(20)))
    here: Any = SimpleNamespace(word=SimpleNamespace(runs="nothing"), value=lambda role: rate)
    found = lift.lifted(here, Evaluator(lambda of: 1 - of, False, {"of": False}), 0.7)
    assert found.draws().low.tolist() == pytest.approx((1 - low - 0.2).tolist())
    assert found.draws().high.tolist() == pytest.approx((1 - low).tolist())


SWEEP = "sweep s on ours { for l in layers: patch resid_post[l] @ END  report logit_diff }\n"


def test_argmax_is_a_claim_on_every_difference(world: Path) -> None:
    found = run(world, SWEEP).results
    cells = {
        cell: n["logit_diff"].mean for cell, n in found.measures["s"].items() if cell[0] == "["
    }
    order = sorted(cells, key=cells.__getitem__)
    best, worst = order[-1].strip("[]"), order[0].strip("[]")
    text = f"{SWEEP}expect argmax(s.logit_diff) is {best}\nexpect argmax(s.logit_diff) is {worst}"
    first, second = run(world, text).results.expectations
    assert first.verdict in ("held", "undecided")
    assert first.verdict == ("held" if first.low is not None and first.low > 0 else "undecided")
    assert second.verdict == "fell"
    assert second.difference == pytest.approx(cells[order[0]] - cells[order[-1]])


def test_a_cell_that_is_chosen_here_is_marked(world: Path) -> None:
    path = world / "chosen.cpatch"
    path.write_text(
        f'model lm = "./lm"\npairs ours = jsonl("pairs.jsonl")\n{SWEEP}'
        "expect argmax(s.logit_diff) is 1\nexpect s[1].logit_diff > 0\n"
        "expect s[2].logit_diff > 0\n"
    )
    program = api.check(path)
    assert [bool(claim.selected) for claim in program.claims] == [False, True, False]
    assert [warning.code for warning in program.warnings] == ["chosen-here"]


def test_sweeps_are_ordered_by_change(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from causaldsl.report.numbers import change, furthest

    results = run(world, SWEEP).results
    arms, record = results.measures["s"], results.sweeps["s"]
    clean = arms["clean"]["logit_diff"].mean
    expected = sorted(
        (cell for cell in arms if cell != "clean"),
        key=lambda cell: -abs(arms[cell]["logit_diff"].mean - clean),
    )
    assert furthest(arms, "logit_diff") == expected
    assert change(arms, "[3]", "logit_diff") == arms["[3]"]["logit_diff"].mean - clean
    half = dict(
        zip([c for c in arms if c != "clean"], record.simultaneous["logit_diff"], strict=True)
    )
    for cell, width in half.items():
        number = arms[cell]["logit_diff"]
        assert width > 0.9 * (number.high - number.low) / 2


def test_ties_do_not_hang_on_what_ran_together() -> None:
    """Equal projections that were computed in different batches differ by rounding."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 4, (30,), generator=generator).double()
    second = torch.randint(0, 4, (20,), generator=generator).double()
    noise = 1e-7 * torch.randn(30, generator=generator, dtype=torch.float64)
    ties = (first[:, None] - second).sign()
    exact = float((ties + 1).mean() / 2)
    assert auc(first + noise, second, 4e-5) == auc(first, second) == pytest.approx(exact)
    assert auc(first + noise, second) != pytest.approx(exact, abs=1e-6)


def test_few_units_are_carried_beyond_the_draws() -> None:
    """With three units a draw is rarely far enough out: the tail goes on as a normal's."""
    numbers = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
    made = Bootstrap(torch.Generator().manual_seed(0), 2000, apart(3))
    low, high = all_ends(made.of_columns(numbers), numbers.mean(0), Spread.of(3))
    assert float(low) < -2
    assert float(high) > 2
    alone = Bootstrap(torch.Generator().manual_seed(0), 100, apart(1)).mean(numbers[0])
    assert (alone.low, alone.high) == (-1, -1)


MANY = """
import resource, torch
from causaldsl.check.units import apart
from causaldsl.engine.bootstrap import Bootstrap
from causaldsl.engine.looks import all_at_once
from causaldsl.engine.metrics import Measured, Outcome
from causaldsl.vocabulary.metrics import metric_named
from causaldsl.discovery import import_all
import_all("causaldsl.vocabulary")
made = Bootstrap(torch.Generator().manual_seed(0), 2000, apart(1000))
clean = Outcome({"logit_diff": 5 + torch.randn(1000, dtype=torch.float64)})
runs = {"clean": clean} | {
    f"[{i}]": Outcome({"logit_diff": torch.randn(1000, dtype=torch.float64)}) for i in range(2000)
}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
measured = Measured(runs, clean, made)
measured.add(metric_named("fldd"))
assert len(all_at_once(measured, metric_named("fldd")).half) == 2000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def test_many_arms_fit_into_memory() -> None:
    """2,000 arms on 1,000 pairs take less than 1 GiB beside the numbers by pair."""
    made = subprocess.run(
        [sys.executable, "-c", MANY], capture_output=True, text=True, check=True, timeout=300
    )
    assert float(made.stdout) < 1
