"""Grids of runs, combined numbers, and how many pairs a claim needs, against closed forms."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from causaldsl.cli import main
from causaldsl.studies.combine import combined, error_of
from causaldsl.studies.power import power
from tests.frontend.world import PRELUDE, make_world

TEMPLATES = [
    "The day that {X} met {Y} in the {place} {Z} had",
    "{X} or {Y} at the {place} or {Z} if",
]
PROGRAM = (
    PRELUDE.replace("test 6", "test 60").replace(
        "  slots", "".join(f'  test "{text}"\n' for text in TEMPLATES) + "  slots"
    )
    + """param floor = -9
measure m on flip.test { a = patch resid_post[2] @ END  report logit_diff }
measure k on flip.train { a = patch resid_post[2] @ END  report logit_diff }
let both = (m.a.logit_diff - m.clean.logit_diff) / 2
expect m.a.logit_diff > floor
expect both > 0.001 at 0.9
expect m.a.logit_diff - k.a.logit_diff < 0.5
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_world(tmp_path_factory.mktemp("grids"))
    (folder / "p.cpatch").write_text(PROGRAM)
    assert main(["run", str(folder / "p.cpatch"), "--out", str(folder / "run")]) in (0, 1, 4)
    return folder


def test_a_grid_goes_on_where_it_was(world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = world / "grid"
    command = ["replicate", str(world / "p.cpatch"), "--out", str(out), "--json", "--jobs", "2"]
    command += ["--models", f"{world / 'tiny-llama'},{world / 'tiny-gpt2'},{world / 'none-such'}"]
    capfd.readouterr()
    assert main(command) == 3
    said = capfd.readouterr()
    assert "3 runs: 0 are there" in said.err
    found = json.loads(said.out)
    assert found == json.loads((out / "replicate.json").read_text())
    runs = list(found["runs"])
    assert "none-such" in found["runs"][runs[2]]["failed"]
    folders = [Path(found["runs"][name]["folder"]) for name in runs[:2]]
    times = [(folder / "results.json").stat().st_mtime_ns for folder in folders]
    assert main(command) == 3
    assert "3 runs: 2 are there" in capfd.readouterr().err
    assert [(folder / "results.json").stat().st_mtime_ns for folder in folders] == times
    records = [json.loads((folder / "results.json").read_text()) for folder in folders]
    for claim, by_run in found["claims"].items():
        for record, name in zip(records, runs, strict=False):
            texts = {c["text"]: c["verdict"] for c in record["expectations"]}
            assert by_run[name] == texts[claim]
    number = found["numbers"]["m.a.logit_diff"]
    wanted = [record["measures"]["m"]["a"]["logit_diff"] for record in records]
    assert list(number["runs"].values()) == wanted
    assert (out / "forest.svg").read_text().count("m.a.logit_diff") >= 2


def test_means_are_those_of_the_textbook() -> None:
    y, s = [0.10, 0.30, 0.35, 0.65, 0.45], [0.10, 0.15, 0.20, 0.15, 0.25]
    found = combined(y, s)
    assert found is not None
    w = [1 / e**2 for e in s]
    fixed = sum(a * b for a, b in zip(w, y, strict=True)) / sum(w)
    q = sum(a * (b - fixed) ** 2 for a, b in zip(w, y, strict=True))
    tau2 = (q - 4) / (sum(w) - sum(a * a for a in w) / sum(w))
    v = [1 / (e**2 + tau2) for e in s]
    mean = sum(a * b for a, b in zip(v, y, strict=True)) / sum(v)
    assert (found.q, found.tau, found.mean) == pytest.approx((q, math.sqrt(tau2), mean))
    assert found.i2 == pytest.approx((q - 4) / q)
    assert found.low < mean < found.high


def test_intervals_of_means_cover() -> None:
    """Of 2,000 grids of 6 runs on pairs of their own, and of runs that all share their error."""
    rng, hits, shared_hits = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        s = rng.uniform(0.1, 0.4, 6)
        true = rng.normal(1.0, 0.2, 6)
        one = combined(list(rng.normal(true, s)), list(s))
        two = combined(list(true + s * rng.normal()), list(s), shared=True)
        assert one is not None
        assert two is not None
        hits += one.low < 1.0 < one.high
        shared_hits += two.low < 1.0 < two.high
    assert hits / 2000 > 0.93
    assert shared_hits / 2000 > 0.93


def test_copies_of_a_run_are_no_more_certain_than_one() -> None:
    low, high = 1 - 1.96 * 0.1, 1 + 1.96 * 0.1
    found = combined([1.0] * 9, [0.1] * 9, shared=True)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))
    assert error_of(1 - student.ppf(0.975, 9), 1 + student.ppf(0.975, 9), 10) == pytest.approx(1)


def test_power_of_a_mean_is_that_of_a_t_test(
    world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert main(["power", str(world / "run"), "--json"]) == 0
    mean, half, two_sets = json.loads(capfd.readouterr().out)
    frame = pd.read_parquet(world / "run" / "values.parquet")
    of = frame[(frame.measure == "m") & (frame.metric == "logit_diff")]
    a = of[of.arm == "a"].set_index("pair")
    assert mean["difference"] == pytest.approx(a.value.mean() + 9)
    groups = [group.value for _, group in a.groupby("template")]
    assert mean["templates"] == len(groups) == 3
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (len(a) - len(groups))
    assert mean["within"] == pytest.approx(math.sqrt(within), rel=1e-6)

    def enough(n: int, d: float, sd: float, level: float) -> bool:
        reach = student.ppf(0.5 + level / 2, n - 1) + student.ppf(0.8, n - 1)
        return d * d >= reach**2 * sd * sd / n

    n = mean["needs_units"]
    assert enough(n, mean["difference"], mean["within"], 0.95)
    assert n == 2 or not enough(n - 1, mean["difference"], mean["within"], 0.95)
    # A difference of two arms, halved, is paired.
    paired = (a.value - of[of.arm == "clean"].set_index("pair").value) / 2
    by = paired.groupby(a.template)
    squares = sum(((g - g.mean()) ** 2).sum() for _, g in by)
    assert half["within"] == pytest.approx(math.sqrt(squares / (len(a) - 3)), rel=1e-6)
    n = half["needs_units"]
    assert enough(n, half["difference"], half["within"], 0.9)
    assert n == 2 or not enough(n - 1, half["difference"], half["within"], 0.9)
    assert two_sets["needs_units"] is not None
    assert main(["power", str(world / "run"), "--power", "0.95"]) == 0
    assert "0.95" in capfd.readouterr().out


def test_the_largest_of_several_needs_more_units(world: Path, tmp_path: Path) -> None:
    """As much more as its interval in the run is wider than that of the number alone."""
    pairs = PRELUDE.replace("test 6", "test 40")
    sweep = "sweep s on flip.test { for l in 0..3: patch resid_post[l] @ END  report logit_diff }\n"
    (world / "largest.cpatch").write_text(pairs + sweep + "expect max(s.logit_diff) > -9\n")
    main(["run", str(world / "largest.cpatch"), "--out", str(tmp_path / "run")])
    (claim,) = power(tmp_path / "run")
    (found,) = json.loads((tmp_path / "run/results.json").read_text())["expectations"]
    n, sd, d = claim["units"], claim["within"], claim["difference"]
    wider = (d - found["low"]) / (student.ppf(0.975, n - 1) * sd / math.sqrt(n))
    assert wider > 1.05

    def enough(k: int) -> bool:
        reach = wider * student.ppf(0.975, k - 1) + student.ppf(0.8, k - 1)
        return bool(d * d >= reach**2 * sd * sd / k)

    assert enough(claim["needs_units"])
    assert claim["needs_units"] == 2 or not enough(claim["needs_units"] - 1)


def test_programs_of_one_name_are_two(tmp_path: Path) -> None:
    paths = []
    for folder, layer in (("x", 1), ("y", 2)):
        (tmp_path / folder).mkdir()
        make_world(tmp_path / folder)
        paths.append(tmp_path / folder / "same.cpatch")
        arm = f"{{ a = patch resid_post[{layer}] @ END  report logit_diff }}"
        claim = f"expect m.a.logit_diff {'><'[layer - 1]} -9\n"
        paths[-1].write_text(f"{PRELUDE}measure m on flip.test {arm}\n{claim}")
    main(["replicate", *map(str, [*paths, paths[0]]), "--out", str(tmp_path / "grid")])
    found = json.loads((tmp_path / "grid" / "replicate.json").read_text())
    assert list(found["runs"]) == ["x/same, seed 0", "y/same, seed 0"]
    assert found["claims"] == {
        "x/same: m.a.logit_diff > -9": {"x/same, seed 0": "held"},
        "y/same: m.a.logit_diff < -9": {"y/same, seed 0": "fell"},
    }
    assert {name for name in found["numbers"] if name.endswith("m.a.logit_diff")} == {
        "x/same: m.a.logit_diff",
        "y/same: m.a.logit_diff",
    }
    assert all(number["combined"] is None for number in found["numbers"].values())


def test_claims_of_any_level_have_one_error_and_nested_sets_share_pairs(world: Path) -> None:
    levels = ["at 0.99", "at 0.95", "at 0.8"]
    claims = [f"expect m.a.logit_diff > -9 {level}\n" for level in levels]
    program = PRELUDE.replace("test 6", "test n").replace("pairs flip", "param n = 20\npairs flip")
    measure = "measure m on flip.test { a = patch resid_post[1] @ END  report logit_diff }\n"
    (world / "levels.cpatch").write_text(program + measure + "".join(claims))
    out = world / "nested"
    main(["replicate", str(world / "levels.cpatch"), "--set", "n=20,24", "--out", str(out)])
    numbers = json.loads((out / "replicate.json").read_text())["numbers"]
    found = [n["combined"] for name, n in numbers.items() if name.startswith("claim ")]
    assert len(found) == 3
    assert all(mean["shared"] for mean in found)
    widths = [mean["high"] - mean["low"] for mean in found]
    assert widths == pytest.approx([widths[0]] * 3, rel=0.1)
    one = next(number for name, number in numbers.items() if name == "m.a.logit_diff")
    assert widths[1] == pytest.approx(one["combined"]["high"] - one["combined"]["low"])
    assert error_of(0, 2 * student.ppf(0.9, 19), 20, 0.8) == pytest.approx(1)
