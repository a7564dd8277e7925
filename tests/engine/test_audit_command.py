"""`causaldsl audit`: the same verdict as in a program, and the run's folder holds that program."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from causaldsl.cli import main
from tests.engine.planting.build import DORMANT, FEATURE, LOST, write
from tests.engine.planting.cases import built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    made = built("null", 0)
    write(made, folder / "model")
    (folder / "model/pairs.jsonl").rename(folder / "pairs.jsonl")
    illusion = made.frame[:, LOST] + made.frame[:, DORMANT]
    save_file({"basis": illusion[:, None].contiguous()}, str(folder / "v.safetensors"))
    w_out = made.module.model.layers[1].mlp.down_proj.weight.detach().double()
    unit = w_out @ made.frame[:, FEATURE]  # where the feature is written
    save_file({"u": unit}, str(folder / "u.safetensors"))
    return folder


def command(folder: Path, out: str, *more: str) -> int:
    start = ["audit", str(folder / "v.safetensors"), "--model", str(folder / "model")]
    start += ["--site", "mlp_hidden[1]", "--pairs", str(folder / "pairs.jsonl")]
    return main([*start, "--out", str(folder / out), *more])


def test_verdict_and_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    against = str(folder / "u.safetensors")
    assert command(folder, "run", "--against", against) == 0
    said = capsys.readouterr().out
    assert "ILLUSORY" in said
    assert "* clip" in said
    audit = json.loads((folder / "run/results.json").read_text())["audits"]["verdict"]
    assert audit["verdict"] == "illusory"
    rows = {row["name"]: row for row in audit["evidence"]}
    assert (
        rows["cos(v W_out, u)"]["value"] > rows["cos(v W_out, u)"]["details"]["random vectors, 95%"]
    )
    assert "illusion(v, against: u" in (folder / "run/audit.cpatch").read_text()
    # That program runs by itself, to the same numbers, where it may read the same files.
    again = ["run", str(folder / "run/audit.cpatch"), "--out", str(folder / "again")]
    assert main(again) == 2
    assert main([*again, "--allow-path", str(folder)]) == 0
    again = json.loads((folder / "again/results.json").read_text())["audits"]["verdict"]
    assert again == audit


def test_pairs_from_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    names = ("base", "source", "answer", "foil", "split")
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [name for name in names if name in rows[0]])
        table.writeheader()
        table.writerows({name: row[name] for name in table.fieldnames} for row in rows)
    assert command(folder, "lines") == 0
    assert command(folder, "table", "--pairs", str(folder / "pairs.csv")) == 0
    one, other = (
        json.loads((folder / run / "results.json").read_text())["audits"]["verdict"]
        for run in ("lines", "table")
    )
    assert one["verdict"] == other["verdict"]
    assert "dataset(" in (folder / "table/audit.cpatch").read_text()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (["--against", "nowhere.safetensors"], 2, "there is no file nowhere.safetensors"),
        (["--site", "mlp_hidden[7]"], 2, "no layer 7"),
        (["--site", "resid_post[0]"], 2, "48 dimensions"),
        (["--site", "rubbish["], 2, "`rubbish[` is not a site\n  --> --site:1:9"),
        (["--site", ""], 2, "`` is not a site\n  --> --site:1:1"),
        (["--site", "mlp_hidden[1] @ S9"], 2, "no position `S9`\n  --> --site:1:17"),
        (["--site", "mlp_hidden[1]\r\n@ S9"], 2, "no position `S9`\n  --> --site:1:17"),
        (["--site", "mlp_hidden[1]\nexpect 1 < 2"], 2, "this is more than a site"),
        (["--site", "mlp_hidden[1] # a @ b"], 2, "a comment can't stand here\n  --> --site:1:15"),
        (["--train", "0.001"], 2, "\n  --> --pairs:1:1\n"),
        (["--model", "\udcff"], 2, "not UTF-8 text"),
        (["--model", "smollm2"], 2, "\n  --> --model:1:1\n   |\n 1 | smollm2\n   | ^^^^^^^\n"),
        (["--pairs", __file__], 2, f"\n  --> --pairs:1:1\n   |\n 1 | {__file__}\n"),
    ],
)
def test_mistakes(
    change: list[str], code: int, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, "never", *change) == code
    assert said in capsys.readouterr().err
    assert not (folder / "never").exists()


def test_mistakes_in_the_directions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = str(folder / "v.safetensors")
    assert command(folder, "never", "--against", own) == 2
    assert "--> the program that stands for this command:6:17\n" in capsys.readouterr().err
    assert command(folder, "never", "--site", "resid_post[0]") == 2
    assert f"--> direction:1:1\n   |\n 1 | {own}\n" in capsys.readouterr().err
    assert not (folder / "never").exists()


def test_warnings_stand_at_the_arguments(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    rows[0]["base"] += " "
    pairs = folder / "spaced.jsonl"
    pairs.write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert command(folder, "spaced", "--pairs", str(pairs), "--train", "0.5") == 0
    warned = capsys.readouterr().err
    assert "warning[trailing-space]" in warned
    assert f"\n  --> --pairs:1:1\n   |\n 1 | {pairs}\n" in warned
    notes = json.loads((folder / "spaced/results.json").read_text())["notes"]
    assert [note for note in notes if note.startswith("--pairs:1:1 a prompt ends in white space")]
