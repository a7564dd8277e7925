"""`top(k, SWEEP.METRIC)` against a program in which what it finds is written out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from causaldsl import api
from causaldsl.diagnostics import ProgramError, RunFailure
from causaldsl.engine.ties import tie_at
from causaldsl.report.kinds.sweeps import sweep_table
from causaldsl.results.lock import lock_of
from causaldsl.results.records import Results
from tests.tiny import NAMES, OBJECTS, tiny_folder

START = """model lm = "tiny-llama"
pairs p = jsonl("pairs.jsonl", train: 0.5)
sweep scan on p.train { for h in heads[1..3]: patch head[h].z @ END  report logit_diff }
sweep layers_of on p.train { for l in layers: patch mlp_out[l] @ END  report logit_diff }
"""
MEASURE = """measure m on p.test {
  moved = patch movers.z @ END
  late = patch mlp_out[late] @ END + patch several
  report logit_diff, prob
}
expect m.moved.prob < 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("top")
    tiny_folder(found, "llama")
    rows = [
        {
            "base": f"The man gave {name}",
            "source": f"The boy gave {NAMES[i + 13]}",
            "answer": f" {OBJECTS[i % 10]}",
            "foil": f" {OBJECTS[(i + 3) % 10]}",
        }
        for i, name in enumerate(NAMES[:12])
    ]
    (found / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return found


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def largest(results: Results, sweep: str, count: int) -> list[str]:
    cells = {c: n["logit_diff"].mean for c, n in results.measures[sweep].items() if c != "clean"}
    best = sorted(cells, key=lambda cell: -cells[cell])[:count]
    return [cell.strip("[]") for cell in cells if cell in best]


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_it_is_the_set_written_out(folder: Path, backend: str) -> None:
    sets = (
        "set movers = top(2, scan.logit_diff)\nset late = top(1, layers_of.logit_diff)\n"
        "site several = movers.q @ END\n"
    )
    run = api.run(START + sets + MEASURE, backend=backend, dtype="float64")
    heads, late = largest(run.results, "scan", 2), largest(run.results, "layers_of", 1)
    assert heads != ["3.2", "3.3"] or late != ["3"]  # what `check` takes in their place
    written = (
        f"set movers = {{{', '.join(heads)}}}\nset late = {{{', '.join(late)}}}\n"
        "site several = movers.q @ END\n"
    )
    other = api.run(START + written + MEASURE, backend=backend, dtype="float64")
    assert run.results.measures == other.results.measures
    assert any(f"is {{{', '.join(heads)}}}" in note for note in run.results.notes)
    assert run.results.expectations[0].selected == ""
    compiled = (api.compile(START + one + MEASURE) for one in (sets, written))
    ours, theirs = (lock_of(one.program, one.graph) for one in compiled)
    assert ours.program != theirs.program


def test_a_choice_may_hang_on_another(folder: Path) -> None:
    """The second sweep is over what the first one chose, and is itself chosen from."""
    run = api.run(
        START + "sweep again on p.train { for h in top(3, scan.logit_diff): patch head[h].z @ END\n"
        " report prob }\nset best = top(1, again.prob)\n"
        "measure m on p.train { best = patch best.z @ END  report prob }\nexpect m.best.prob < 2"
    )
    cells = {c: n["prob"].mean for c, n in run.results.measures["again"].items() if c != "clean"}
    assert [c.strip("[]") for c in cells] == largest(run.results, "scan", 3)
    best = run.results.measures["m"]["best"]["prob"].mean
    assert best == pytest.approx(max(cells.values()))
    (claim,) = run.results.expectations
    assert claim.selected == "what top(1, again.prob) chose on the same pairs"
    assert any("chosen for its size" in note for note in run.results.notes)


LOOPED = """attribution found to logit_diff on p.train { over heads, mlps }
sweep least on p.train { for h in heads[1]: patch head[h].z @ END  report logit_diff }
set c = CHOSEN
set control = random_like(c, seed: 1, by: layer)
sweep each on p.test { for h in c: only {c except {h}} else source OVER  report logit_diff }
sweep alone on p.test { for h in c: patch h @ END  report logit_diff }
sweep out on p.test { for h in c: without {h} else source  report logit_diff }
measure m on p.test {
  rest = only {heads[1] except LEAST} else source
  all = only c else source OVER
  drawn = only control else source OVER
  report logit_diff
}
"""


@pytest.mark.parametrize("backend", ["cone", "hooks"])
def test_what_a_run_chooses_is_looped_over_and_left_out(folder: Path, backend: str) -> None:
    """As a program in which it is written out, and what its circuits are over too."""
    text = START + LOOPED
    asked = text.replace("CHOSEN", "top(3, found)").replace("LEAST", "top(1, least.logit_diff)")
    run = api.run(asked.replace("OVER", ""), backend=backend, dtype="float64")
    sizes = {one.name: abs(one.estimate.mean) for one in run.results.attributions["found"].largest}
    best = sorted(sizes, key=lambda name: -sizes[name])[:3]
    assert {name.partition("[")[0] for name in best} == {"head", "mlp_out"}
    order = [name for name in run.program.attributions["found"].names if name in best]
    (least,) = largest(run.results, "least", 1)
    text = text.replace("CHOSEN", f"{{{', '.join(order)}}}").replace("LEAST", f"{{{least}}}")
    written = api.run(text.replace("OVER", "over {heads, mlps}"), backend=backend, dtype="float64")
    measured = run.results.measures
    for name in ("each", "alone", "out", "m"):
        assert measured[name].keys() == written.results.measures[name].keys()
        for cell, numbers in written.results.measures[name].items():
            mean = numbers["logit_diff"].mean
            assert measured[name][cell]["logit_diff"].mean == pytest.approx(mean, abs=1e-12)
        assert len({round(one["logit_diff"].mean, 9) for one in measured[name].values()}) > 2
    cells = {name.removeprefix("head[").removesuffix("].z") for name in best}
    assert measured["alone"].keys() == {"clean", *(f"[{cell}]" for cell in cells)}
    rows = run.measures["each"].rows
    assert {(row["arm"], row["h"]) for row in rows} == {("clean", None), *(("", c) for c in cells)}
    (shown, *_) = sweep_table(run.results, "each").columns
    assert {str(cell) for cell in shown.cells} == {"clean", *cells}
    assert {one.over for one in run.results.circuits["each"].values()} == {"heads, mlps"}
    (note,) = [note for note in run.results.notes if note.startswith("random_like: ")]
    assert "the same mlps as `c`" in note


def test_pairs_are_chosen_before_cells(folder: Path) -> None:
    text = START.replace("train: 0.5", "train: 0.5, where: correct")
    run = api.run(text + "set movers = top(1, scan.logit_diff)\n" + MEASURE.replace(
        "  late = patch mlp_out[late] @ END + patch several\n", ""
    ))  # fmt: skip
    n = run.results.measures["scan"]["clean"]["logit_diff"].n
    assert n < 6
    assert any("pairs kept" in note for note in run.results.notes)


def test_what_only_some_members_allow_is_decided_by_the_run(folder: Path) -> None:
    """A path may start at layer 0 and not at layer 3, which stands in their place first."""
    text = START + (
        "metric up = logit(answer) - logit(foil)\nmetric down = -up\n"
        "sweep ends on p.train { for l in {0, 3}: patch mlp_out[l] @ END  report up, down }\n"
        "set best = top(1, ends.METRIC)\n"
        "measure m on p.test { way = SITE @ END -> head[2.0].q @ END\n"
        "  -> logits { freeze none  layernorm recompute }  report logit_diff }\n"
    )
    written = text.replace("set best = top(1, ends.METRIC)\n", "")
    wanted = api.run(written.replace("SITE", "mlp_out[0]")).results.measures["m"]
    ways = []
    for metric in ("up", "down"):
        program = text.replace("METRIC", metric).replace("SITE", "mlp_out[best]")
        api.check(program)
        try:
            ways.append(api.run(program).results.measures["m"])
        except ProgramError as refused:
            (problem,) = refused.diagnostics
            assert "mlp_out[3]" in problem.message
            assert "in place of" not in str(problem.help)
    assert ways == [wanted]


def test_what_is_withheld_chooses_nothing(folder: Path) -> None:
    text = START.replace('jsonl("pairs.jsonl", train: 0.5)', 'jsonl("pairs.jsonl", train: 0.2)')
    text = text.replace(
        "END  report logit_diff }\nsweep layers", "END  report fldd }\nsweep layers"
    )
    with pytest.raises(RunFailure, match=r"top\(1, scan.fldd\) can't be found: fldd on p.train"):
        api.run(text + "set movers = top(1, scan.fldd)\nmeasure m on p.test {\n"
                "  a = patch movers.z @ END  report prob }")  # fmt: skip


def test_a_tie_at_the_cut_is_said(folder: Path) -> None:
    """Two loop values that do the same have equal numbers, and one of them has to be left out."""
    text = START + (
        "sweep same on p.train { for l in layers: patch mlp_out[2] @ END  report logit_diff }\n"
        "set one = top(1, same.logit_diff)\nset two = top(2, layers_of.logit_diff)\n"
        "measure m on p.test { a = patch mlp_out[one] @ END  b = patch mlp_out[two] @ END\n"
        "  report logit_diff }\n"
    )
    notes = api.run(text).results.notes
    (said,) = [note for note in notes if "no more than rounding" in note]
    assert said.startswith("top(1, same.logit_diff): 0, 1, 2, 3 differ")
    assert any(note.startswith("top(1, same.logit_diff) is {0}") for note in notes)


@pytest.mark.parametrize(
    ("sizes", "count", "tied"),
    [
        ([3.0, 1.0, 2.0], 2, []),
        ([3.0, 2.0, 2.0, 1.0], 2, [1, 2]),
        ([3.0, 2.0, 2.0, 1.0], 3, []),
        ([3.0, 2.0, 2.0 + 1e-7, 2.0 - 1e-7], 1, []),
        ([3.0, 2.0, 2.0 + 1e-7, 2.0 - 1e-7], 3, [2, 1, 3]),
        ([3.0, 2.0], 2, []),
        ([0.0, 0.0], 1, [0, 1]),
    ],
)
def test_what_is_a_tie(sizes: list[float], count: int, tied: list[int]) -> None:
    found = torch.tensor(sizes, dtype=torch.float64)
    order = torch.argsort(-found, stable=True).tolist()
    assert tie_at(found, order, count, "float32") == tied
