"""Metrics that a program defines against raw PyTorch, in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import Tensor

from causaldsl import api
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.unfinished import Unfinished
from tests.engine.test_answer_sets import ROWS, World, ids

HE, SHE = ids([" he"])[0], ids([" she"])[0]
Oracle = Callable[[Tensor, Tensor, list[int], list[int]], Tensor]
OWN: dict[str, tuple[str, Oracle]] = {
    "lead": ("logit(answer) - logit(foil)", lambda x, p, a, f: x[a].mean() - x[f].mean()),
    "ratio": (
        "prob(answer) / (prob(answer) + prob(foil))",
        lambda x, p, a, f: p[a].sum() / (p[a].sum() + p[f].sum()),
    ),
    "gender": ('logit(" he") - logit(" she")', lambda x, p, a, f: x[HE] - x[SHE]),
    "odds": (
        'abs(log_prob([" he", " she", " he"]) - log_prob(answer)) * k / 2 - 1',
        lambda x, p, a, f: ((p[HE] + p[SHE]).log() - p[a].sum().log()).abs() * 3 / 2 - 1,
    ),
    "twice": ("-(lead + lead)", lambda x, p, a, f: -2 * (x[a].mean() - x[f].mean())),
}
METRICS = "param k = 3\n" + "".join(f"metric {n} = {text}\n" for n, (text, _) in OWN.items())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("own"))


@pytest.fixture(autouse=True)
def there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)


def by_pair(world: World, name: str, arm: str) -> list[float]:
    found = []
    for x, (_, _, answers, foils) in zip(world.logits[arm], ROWS, strict=True):
        found.append(float(OWN[name][1](x, x.softmax(0), ids(answers), ids(foils))))
    return found


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_expressions_pair_by_pair(world: World, backend: str) -> None:
    run = world.run(
        f'pairs p = jsonl("sets.jsonl")\n{METRICS}'
        f"measure m on p {{ a = patch resid_post[1] @ END  report {', '.join(OWN)}, logit_diff }}\n"
        "sweep s on p { for l in 1..2: patch resid_post[l] @ END  report ratio }\n"
        "expect m.a.twice + 2 * m.a.lead < 0.001\nexpect max(s.ratio) < 2",
        backend,
    )
    values = run.values.to_pandas()
    for arm in ("clean", "a"):
        for name in OWN:
            wanted = by_pair(world, name, arm)
            rows = values[(values.measure == "m") & (values.arm == arm) & (values.metric == name)]
            assert list(rows.sort_values("pair").value) == pytest.approx(wanted, abs=1e-9), name
            number = run.results.measures["m"][arm][name]
            assert number.mean == pytest.approx(sum(wanted) / len(wanted), abs=1e-9), name
            assert number.low < number.mean < number.high
        for part in ("mean", "low", "high"):
            lead, ld = (
                getattr(run.results.measures["m"][arm][n], part) for n in ("lead", "logit_diff")
            )
            assert lead == pytest.approx(ld, abs=1e-9)
    cell = run.results.measures["s"]["[1]"]["ratio"]
    assert cell.mean == pytest.approx(run.results.measures["m"]["a"]["ratio"].mean, abs=1e-9)
    assert [claim.verdict for claim in run.results.expectations] == ["held", "held"]


def test_one_answer_and_one_foil(world: World) -> None:
    run = world.run(
        'lexicon n = words(["one", "two", "three", "four"])\n'
        'prompts q { test "The day {X} was" slots X: n answer " he" foil " she" }\n'
        "pairs p = q A { test 4 }\n"
        'metric lead = logit(answer) - logit(foil)\nmetric named = logit(" he") - logit(" she")\n'
        "metric less = prob(foil) - prob(answer)\n"
        "measure m on p.test { a = ablate resid_post[1] @ END to zero\n"
        " report lead, named, logit_diff, less, prob_diff }"
    )
    for numbers in run.results.measures["m"].values():
        for one in ("lead", "named"):
            assert numbers[one].mean == pytest.approx(numbers["logit_diff"].mean, abs=1e-9)
        assert numbers["less"].mean == pytest.approx(-numbers["prob_diff"].mean, abs=1e-12)


def test_another_formula_under_a_name_is_another_number(world: World, tmp_path: Path) -> None:
    """What a store keeps under a metric's name is that formula's alone."""
    text = (
        'model lm = "tiny-llama"\nparam k = 1\npairs p = jsonl("sets.jsonl")\n'
        "metric lead = k * prob(answer)\n"
        "measure m on p { a = patch resid_post[1] @ END  report lead }"
    )
    runs = {k: api.run(text, store=tmp_path, settings={"k": k}) for k in (1, 2)}
    one, two = (run.results.measures["m"]["a"]["lead"].mean for run in runs.values())
    assert two == pytest.approx(2 * one)
    again = api.run(text, store=tmp_path, settings={"k": 2})
    assert again.results.measures == runs[2].results.measures
    assert again.reused[0] > 0


def test_a_formula_identifies_what_is_measured_and_what_was_left_unfinished() -> None:
    text = (
        'model lm = "tiny-llama"\npairs p = jsonl("sets.jsonl")\nmetric a = A\nmetric b = B\n'
        "measure m on p { x = patch resid_post[1] @ END  report a, b }\nexpect m.x.a > 1"
    )
    ways = [("logit(answer)", "log_prob(answer)"), ("log_prob(answer)", "logit(answer)")]
    graphs = [
        api.compile(text.replace("= A", f"= {a}").replace("= B", f"= {b}")).graph for a, b in ways
    ]
    assert len({graph.key_of("m") for graph in graphs}) == 2
    runs = SimpleNamespace(pairs=SimpleNamespace(digest="d"), groups=[])
    of = [Unfinished(None, runs, [[g.vocabulary.metrics["a"]]], []).of for g in graphs]  # type: ignore[arg-type]
    assert of[0] != of[1]


def test_what_is_no_number_is_said(world: World) -> None:
    text = (
        'pairs p = jsonl("sets.jsonl")\nmetric m1 = 1 / (logit(answer) - logit(answer))\n'
        "measure m on p { a = patch resid_post[1] @ END  report m1 }"
    )
    with pytest.raises(RunFailure, match="m1 is not defined: in some pair"):
        world.run(text)
