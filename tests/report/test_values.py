"""values.parquet: every number of results.json follows from it, in the words of pandas alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, norm, t

from causaldsl import api
from causaldsl.cli import main
from tests.frontend.world import PRELUDE, make_world

PAIRS = PRELUDE.replace("{ train 8  test 6", "{ train 8  test 40")
PROGRAM = (
    PAIRS
    + """
pairs sure = jsonl("sure.jsonl")
pairs more = ioi ABB <-> BAB { test 5  seed 7 }
site mlp = mlp_hidden[1] @ END
subspace v = das(mlp, on: flip.train, epochs: 1)
subspace u = random(mlp, seed: 1)
measure m on flip.test {
  whole = patch mlp
  along_v = patch mlp along v
  report logit_diff, fldd, flip_rate, positive_rate, interchange_accuracy, prob, kl
}
measure certain on sure {
  whole = patch mlp
  early = patch resid_post[0] @ S2
  report fldd, flip_rate
}
sweep s on flip.test { for value in layers: patch resid_post[value] @ END  report fldd, prob }
sweep t on flip.train {
  for l in 0..1, p in {S2, END}: a = patch resid_post[l] @ p  b = ablate attn_out[l] @ p to zero
  report logit_diff
}
histogram h on flip.test { there = v at mlp  moved = v at mlp with patch mlp along v }
histogram two on flip.train, more.test { wide = u at mlp_hidden[1] @ all }
trace by = patch mlp_out[0] @ S2 to logit_diff on flip.test { top 3 }
audit held = illusion(v, on: flip, directions: 2, mlps: 1, sizes: [4])
"""
)
FORMULAS: dict[str, Callable[[pd.Series, pd.Series], float]] = {
    "fldd": lambda run, clean: 1 - run.mean() / clean.mean(),
    "flip_rate": lambda run, clean: (run * clean < 0).mean(),
    "positive_rate": lambda run, clean: (run > 0).mean(),
}
"""From the logit differences of a run and of the clean run; every other metric is a mean."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_world(tmp_path_factory.mktemp("values"))
    write_sure_pairs(folder)
    (folder / "all.cpatch").write_text(PROGRAM)
    assert main(["run", str(folder / "all.cpatch"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def write_sure_pairs(folder: Path) -> None:
    """Pairs of which the model, which knows nothing, prefers the answer: else fldd is withheld."""
    first = "measure m on flip.test { a = patch resid_post[0] @ END  report logit_diff }\n"
    (folder / "first.cpatch").write_text(PAIRS + first)
    assert main(["run", str(folder / "first.cpatch"), "--out", str(folder / "first")]) == 0
    values = pd.read_parquet(folder / "first" / "values.parquet")
    clean = values[(values.arm == "clean") & (values.metric == "logit_diff")].value
    lines = [json.loads(line) for line in (folder / "first/pairs/flip.test.jsonl").open()]
    for line, preferred in zip(lines, clean > 0, strict=True):
        if not preferred:
            line["answer"], line["foil"] = line["foil"], line["answer"]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "sure.jsonl").write_text(text)


@pytest.fixture(scope="module")
def frame(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "values.parquet")


@pytest.fixture(scope="module")
def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def arm_of(frame: pd.DataFrame, axes: dict[str, Any], arm: str, metric: str) -> pd.Series:
    """The values of an arm, or of a cell as results.json names it, by pair."""
    name, _, cell = arm.partition("[")
    found = frame[(frame.metric == metric) & (frame.arm == name)]
    if cell:
        for variable, label in zip(axes, cell.rstrip("]").split("."), strict=True):
            column = f"{variable}_" if f"{variable}_" in frame else variable
            found = found[found[column] == label]
    return found.set_index("pair").value


def numbers(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every number with an interval in the results, by where it stands."""
    if isinstance(tree, dict) and {"mean", "n", "low", "high"} <= tree.keys():
        yield at, tree
    elif isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from numbers(part, (*at, key))


def recomputed(
    frame: pd.DataFrame, results: dict[str, Any], at: tuple[Any, ...]
) -> tuple[Callable[..., float], list[pd.Series]] | None:
    """A formula, and the columns by pair that it is of."""
    kind, name = at[:2]
    of = frame[frame.measure == name]
    if kind in ("measures", "subspaces"):
        arm, metric, axes = at[2], at[3], results["sweeps"].get(name, {}).get("axes", {})
        if kind == "subspaces":
            arm, metric, of = "patched", at[4], of[of.split == at[3]]
        if metric not in FORMULAS:
            return np.mean, [arm_of(of, axes, arm, metric)]
        columns = [arm_of(of, axes, each, "logit_diff") for each in (arm, "clean")]
        return FORMULAS[metric], columns
    if kind == "histograms":
        arm, cls = at[3], at[5]
        of = of[(of.arm == arm) & ((of.pattern == cls) | (of.pairs.str.split(".").str[0] == cls))]
        return np.mean, [of.value]
    if kind == "traces":
        clean, patched = (arm_of(of, {}, arm, "logit_diff") for arm in ("clean", "patched"))
        whole = arm_of(of, {}, "patched", "whole")
        record = results["traces"][name]
        if at[2] in ("clean", "total"):
            return (np.mean, [clean]) if at[2] == "clean" else (np.mean, [patched - clean])
        if at[2] == "explained":
            return ratio, [arm_of(of, {}, "explained", "logit_diff") - clean, whole]
        item = record[at[2]][at[3]]
        if at[2] == "edges":
            return np.mean, [arm_of(of, {}, f"{item['sender']} -> {item['receiver']}", at[4])]
        mediated = arm_of(of, {}, item["id"], "mediated")
        return (ratio, [mediated, whole]) if at[4] == "share" else (np.mean, [mediated])
    assert kind == "audits"
    return evidence(of, results["audits"][name]["evidence"][at[3]]["name"], at[5:])


def ratio(top: pd.Series, bottom: pd.Series) -> float:
    return top.mean() / bottom.mean()


def evidence(
    of: pd.DataFrame, name: str, detail: tuple[str, ...]
) -> tuple[Callable[..., float], list[pd.Series]] | None:
    """Effects and shares of an audit; None for what is made from activations."""
    clean, whole, v = (arm_of(of, {}, arm, "logit_diff") for arm in ("clean", "whole", "v"))
    if name == "subspace effect":
        return ratio, [clean - v, clean]
    if name == "whole component":
        return ratio, [clean - whole, clean]
    if name in ("DAS on random MLPs", "DAS by number of neurons"):
        words = detail[0].split()
        arm = f"mlp {words[1]}" if words[0] == "seed" else f"das {words[0]}"
        return ratio, [clean - arm_of(of, {}, arm, "logit_diff"), clean]
    return None


def interval(
    frame: pd.DataFrame, formula: Callable[..., float], columns: list[pd.Series], pairs: str
) -> tuple[float, float]:
    """A bootstrap of our own: units drawn within templates, percentiles expanded."""
    of = frame[frame.pairs == pairs].drop_duplicates("pair").set_index("pair")
    assert of.unit.is_unique
    strata = [of.index.get_indexer(rows) for rows in of.groupby("template").groups.values()]
    n, arrays = len(of), [column.loc[of.index].to_numpy() for column in columns]
    rng, found = np.random.default_rng(1), []
    for _ in range(4000):
        rows = np.concatenate([rng.choice(rows, len(rows)) for rows in strata])
        found.append(formula(*(array[rows] for array in arrays)))
    free = n - len(strata)
    tail = norm.cdf(-np.sqrt(n / free) * t.ppf(0.975, free))
    return tuple(np.quantile(found, [tail, 1 - tail]))


def test_every_number_is_recomputed(frame: pd.DataFrame, results: dict[str, Any]) -> None:
    found, withheld = list(numbers(results)), 0
    for at, number in found:
        made = recomputed(frame, results, at)
        if made is None:
            assert at[0] == "audits", at
            continue
        formula, columns = made
        if number["mean"] is None:
            withheld += 1
            assert at[-1] == "fldd", at
            assert results["measures"]["m"]["clean"]["logit_diff"]["low"] < 0
            continue
        if at[0] != "histograms":
            assert len(columns[0]) >= number["n"], at
        assert formula(*columns) == pytest.approx(number["mean"], rel=1e-9, abs=1e-12), at
    assert {at[0] for at, _ in found} == {"measures", "subspaces", "histograms", "traces", "audits"}
    assert len(found) - withheld > 120


CHECKED = [
    *((m, "whole", metric) for m, metric in (("m", "logit_diff"), ("m", "kl"), ("m", "prob"))),
    *(("certain", arm, "fldd") for arm in ("whole", "early")),
]


@pytest.mark.parametrize(("measure", "arm", "metric"), CHECKED)
def test_intervals_are_recomputed(
    frame: pd.DataFrame, results: dict[str, Any], measure: str, arm: str, metric: str
) -> None:
    number = results["measures"][measure][arm][metric]
    made = recomputed(frame, results, ("measures", measure, arm, metric))
    assert made is not None
    pairs = frame[frame.measure == measure].pairs.iloc[0]
    ours, width = interval(frame, *made, pairs), number["high"] - number["low"]
    assert width > 0
    assert ours == pytest.approx((number["low"], number["high"]), abs=0.06 * width)


def test_exact_intervals_of_rates_are_recomputed(
    frame: pd.DataFrame, results: dict[str, Any]
) -> None:
    for arm in ("whole", "along_v"):
        number = results["measures"]["m"][arm]["positive_rate"]
        column = arm_of(frame[frame.measure == "m"], {}, arm, "positive_rate")
        n, right = len(column), int(column.sum())
        low, high = beta.ppf([0.025, 0.975], [right, right + 1], [n - right + 1, n - right])
        assert (number["low"], number["high"]) == pytest.approx((low, high), rel=1e-6)


def test_every_value_says_what_it_is_of(frame: pd.DataFrame, run: Path) -> None:
    assert list(frame.columns) == [
        "measure", "arm", "value_", "l", "p", "metric",
        "pairs", "pair", "unit", "template", "pattern", "split", "value",
    ]  # fmt: skip
    assert frame.value.notna().all()
    assert set(frame.split.dropna()) == {"train", "test"}
    assert frame[frame.measure == "t"][["l", "p"]].drop_duplicates().dropna().values.tolist() == [
        [layer, place] for layer in "01" for place in ("S2", "END")
    ]
    one = frame[(frame.pairs == "flip.test") & (frame.pair == 7)]
    (template,), (pattern,) = set(one.template), set(one.pattern)
    line = json.loads((run / "pairs" / "flip.test.jsonl").read_text().splitlines()[7])
    assert pattern == line["class"]["base"]
    assert template == "When {X} and {Y} went to the {place} {Z} said"
    assert line["base"].startswith("When ")


def test_the_command_prints_them(
    run: Path, frame: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["values", str(run), "--csv"]) == 0
    read = pd.read_csv(io.StringIO(capfd.readouterr().out), keep_default_na=False)
    assert read.value.tolist() == frame.value.tolist()
    assert read.arm.tolist() == frame.arm.tolist()
    assert main(["values", str(run / "values.parquet")]) == 0
    shown = capfd.readouterr().out
    assert f"{len(frame)} numbers by pair" in shown
    assert "flip.test" in shown


def test_what_is_no_run_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["values", str(tmp_path)]) == 2
    assert "there is no" in capfd.readouterr().err
    (tmp_path / "values.parquet").write_text("nothing of the kind")
    assert main(["values", str(tmp_path)]) == 2
    assert "is not a Parquet file" in capfd.readouterr().err


def test_python_has_them_without_a_folder() -> None:
    toy = Path(__file__).parents[2] / "programs" / "toy_illusion.cpatch"
    run = api.run(toy)
    frame = run.values.to_pandas()
    measure = run.results.measures["on_average"]
    of = frame[frame.measure == "on_average"]
    for arm, metrics in measure.items():
        assert of[of.arm == arm].value.mean() == pytest.approx(metrics["output"].mean)
    assert set(of.metric) == {"output"}
    assert set(frame[frame.measure == "hidden"].metric) == {"projection"}
    assert set(frame.metric) == {"output", "projection"}
