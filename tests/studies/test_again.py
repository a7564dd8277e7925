"""A run again from its own folder, two runs side by side, and what a reviewer gets of one."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from causaldsl.cli import main
from tests.frontend.world import PRELUDE, make_world

PROGRAM = """import "prompts.cpatch"
param layer = 0
param data = "even.jsonl"
pairs lines = jsonl(data)
site s = resid_post[layer] @ S2
subspace v = das(s, on: flip.train, epochs: 1)
measure m on flip.test { a = patch s along v  b = patch s  report logit_diff, prob }
measure n on lines { a = patch resid_post[layer] @ END  report logit_diff }
sweep w on flip.test { for l in layers: patch resid_post[l] @ END  report logit_diff }
trace t = patch s to logit_diff on flip.test { top 2 }
expect m.a.logit_diff < m.clean.logit_diff + 5
plot w
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose program, data and words are gone; only its folder and the model are there."""
    folder = make_world(tmp_path_factory.mktemp("again"))
    (folder / "p.cpatch").write_text(PROGRAM)
    out = tmp_path_factory.mktemp("runs") / "run"
    given = ["--set", f"data={folder / 'uneven.jsonl'}", "--set", "layer=1", "--seed", "2"]
    assert main(["run", str(folder / "p.cpatch"), "--out", str(out), *given]) == 0
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    return out


def test_it_gives_the_same_to_the_last_digit(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["same"]
    assert found["largest"] == 0
    assert found["compared"] > 500


@pytest.mark.parametrize("where", ["mean", "low", "explained", "effect"])
def test_one_changed_digit_is_found(
    run: Path, tmp_path: Path, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "run"
    shutil.copytree(run, changed)
    text = (changed / "results.json").read_text()
    digits = list(re.finditer(rf'"{where}[^\d]*(-?\d\.\d{{4,}})', text))
    if not digits:
        pytest.skip(f"no number is called {where} here")
    at = digits[len(digits) // 2].end(1) - 3
    (changed / "results.json").write_text(
        text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
    )
    assert main(["verify", str(changed)]) == 1
    assert "does NOT give the same again" in capfd.readouterr().out


def test_a_forged_folder_is_found(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    forged = tmp_path / "run"
    shutil.copytree(run, forged)
    path = forged / "results.json"
    text = path.read_text()

    def verified(results: object, *options: str) -> tuple[int, str]:
        path.write_text(json.dumps(results))
        capfd.readouterr()
        return main(["verify", str(forged), *options]), capfd.readouterr().out

    found = json.loads(text)
    found["expectations"][0]["registered"] = True
    code, said = verified(found)
    assert code == 1
    assert "expectations[0].registered: True then, None now" in said
    found = json.loads(text)
    found["provenance"]["threads"] = 77
    code, said = verified(found)
    assert code == 0
    assert "compared within rounding (0.0001)" in said
    assert "threads: 77 then" in said
    arms = found["measures"]["m"].values()
    largest = max(abs(arm["prob"][end]) for arm in arms for end in ("mean", "low", "high"))
    assert largest < 0.5
    found["measures"]["m"]["a"]["prob"]["mean"] += 0.9e-4 * largest
    assert verified(found)[0] == 0
    assert verified(found, "--exact")[0] == 1
    found["measures"]["m"]["a"]["prob"]["mean"] += 0.2e-4 * largest
    assert verified(found)[0] == 1
    (forged / "values.parquet").unlink()
    code, said = verified(json.loads(text))
    assert code == 1
    assert "values.parquet is not there" in said


def test_registered_follows_from_the_lock(tmp_path: Path) -> None:
    folder = make_world(tmp_path)
    claim = "expect m.a.logit_diff > -9\n"
    arm = "measure m on flip.test { a = patch resid_post[1] @ END  report logit_diff }\n"
    (folder / "p.cpatch").write_text(PRELUDE + arm + claim)
    assert main(["lock", str(folder / "p.cpatch")]) == 0
    assert main(["run", str(folder / "p.cpatch"), "--out", str(folder / "run")]) == 0
    (folder / "p.lock").unlink()
    assert main(["verify", str(folder / "run")]) == 0
    found = json.loads((folder / "run" / "results.json").read_text())
    assert found["expectations"][0]["registered"] is True
    found["expectations"][0]["registered"] = False
    (folder / "run" / "results.json").write_text(json.dumps(found))
    assert main(["verify", str(folder / "run")]) == 1


def test_a_lost_model_is_said(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    alone = tmp_path / "run"
    shutil.copytree(run, alone)
    choices = json.loads((alone / "rerun.json").read_text())
    model = choices["model"]["name"]
    choices["model"]["name"] = str(tmp_path / "gone")
    (alone / "rerun.json").write_text(json.dumps(choices))
    assert main(["verify", str(alone)]) == 2
    assert "is not there" in capfd.readouterr().err
    other = str(Path(model).with_name("tiny-gpt2"))
    assert main(["verify", str(alone), "--model", other]) == 2
    assert "is not the model that was run" in capfd.readouterr().err
    assert main(["verify", str(alone), "--model", model]) == 0


@pytest.mark.parametrize("name", ["toy_illusion", "two_heads_cancel", "toy_illusion_rotated"])
def test_programs_give_the_same_again(name: str, tmp_path: Path) -> None:
    program = ROOT / "programs" / f"{name}.cpatch"
    assert main(["run", str(program), "--out", str(tmp_path / "run")]) == 0
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_what_changed_from_one_run_to_another(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make_world(tmp_path / "world") if (tmp_path / "world").mkdir() is None else tmp_path
    program = (
        PRELUDE
        + "param layer = 0\nmeasure m on flip.test { a = patch resid_post[layer] @ END "
        + "report logit_diff }\nexpect m.a.logit_diff < 9\n"
    )
    (folder / "p.cpatch").write_text(program)
    path = str(folder / "p.cpatch")
    main(["run", path, "--out", str(tmp_path / "a")])
    more = ["--set", "layer=2", "--memory", "900K"]
    main(["run", path, *more, "--out", str(tmp_path / "b")])
    (folder / "p.cpatch").write_text(program.replace("< 9", "< -9"))
    main(["run", path, "--out", str(tmp_path / "c")])
    capfd.readouterr()
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "a")]) == 0
    assert capfd.readouterr().out == "nothing changed\n"
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert found.keys() == {"choices", "params", "numbers"}
    assert found["choices"] == {"memory": {"before": None, "after": 900 * 1024}}
    assert "p.cpatch --memory 921600 --set" in (tmp_path / "b" / "report.html").read_text()
    assert main(["verify", str(tmp_path / "b")]) == 0
    capfd.readouterr()
    assert found["params"] == {"layer": {"before": 0, "after": 2}}
    assert found["numbers"].keys() == {"m.a.logit_diff"}
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "c"), "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert found.keys() == {"claims", "program"}
    assert "-expect m.a.logit_diff < 9" in found["program"]
    assert found["claims"]["m.a.logit_diff < -9"] == {"before": None, "after": "fell"}
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "c")]) == 1
    assert "fell" in capfd.readouterr().out


def test_a_bundle_has_what_a_reviewer_wants(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.zip", "two.zip"):
        assert main(["bundle", str(run), "--out", str(tmp_path / name), "--json"]) == 0
    found = json.loads(capfd.readouterr().out.partition("\n{")[0])
    assert found["notes"] == []
    one, two = ((tmp_path / name).read_bytes() for name in ("one.zip", "two.zip"))
    assert one == two
    with zipfile.ZipFile(tmp_path / "one.zip") as file:
        names = set(file.namelist())
        results = json.loads(file.read("run/results.json"))
        rows = list(csv.DictReader(io.StringIO(file.read("tables/m.csv").decode())))
        latex = file.read("tables/m.tex").decode()
        methods = file.read("methods.txt").decode()
        assert all(file.read(n)[:4] == b"%PDF" for n in names if n.startswith("figures/"))
    assert {"figures/w.pdf", "figures/t.pdf", "tables/claims.tex", "run/values.parquet"} <= names
    for row in rows:
        number = results["measures"]["m"][row["arm"]]["prob"]
        assert float(row["prob"]) == pytest.approx(number["mean"], rel=1e-5)
        assert float(row["prob low"]) == pytest.approx(number["low"], rel=1e-5)
    assert latex.count(r"\\") == len(rows) + 1
    assert r"logit\_diff" in latex
    assert "1 held" in methods
    assert "tiny-llama" in methods


def test_raised_limits_are_raised_again(tmp_path: Path) -> None:
    folder = make_world(tmp_path)
    sweep = "sweep w on flip.test { for l in layers: patch resid_post[l] @ END  report fldd }\n"
    (folder / "p.cpatch").write_text(PRELUDE + sweep)
    run = ["run", str(folder / "p.cpatch"), "--out", str(folder / "run")]
    assert main([*run, "--limit", "cells=1"]) == 2
    assert main([*run, "--limit", "cells=4000"]) == 0
    path = folder / "run" / "rerun.json"
    said = json.loads(path.read_text())
    assert said["limits"] == {"cells": 4000}
    assert main(["verify", str(folder / "run")]) == 0
    path.write_text(json.dumps(said | {"limits": {"cells": 1}}))
    assert main(["verify", str(folder / "run")]) == 2
