"""A number that was found is not lost to a picture, a page, a terminal, a disk or Ctrl-C."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from causaldsl import api
from causaldsl.cli import main
from causaldsl.report import write
from causaldsl.results.records import Results
from causaldsl.results.store import MARKER

PROGRAM = """model toy = "toy/illusion"
pairs many = numbers(base: [1, 3, 0, -2.5], source: [2, -1, 4, 10])
site hidden = mlp_hidden[0]
subspace e1 = vector(hidden, [1, 0, 0])
measure m on many { third = patch hidden along e1  report output }
sweep s on many { for k in {1, 2}: patch hidden along e1  report output }
plot s as "swept.svg"
render m as "measured.svg"
expect m.third.output > -100
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "kept.cpatch"
    path.write_text(PROGRAM)
    return path


def numbers(folder: Path) -> dict:
    return Results.model_validate_json((folder / "results.json").read_text()).measures


def broken(*given, **more):
    raise ValueError("no such glyph")


def test_all_numbers_are_there_before_anything_is_drawn(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen = tmp_path / "run", []

    def drawn(dot: str, path: Path) -> None:
        with safe_open(path.parent / "subspaces" / "e1.safetensors", "np") as file:
            seen.append((numbers(path.parent)["m"], file.get_tensor("basis").shape))

    monkeypatch.setattr(write, "draw_dot", drawn)
    assert main(["run", str(program), "--out", str(out)]) == 0
    assert [shape for _, shape in seen] == [(3, 1)]
    assert seen[0][0] == numbers(out)["m"]


@pytest.mark.parametrize(
    ("name", "lost", "kept"),
    [
        ("graph_dot", "graph.svg", ["swept.svg", "measured.svg", "report.html"]),
        ("report_html", "report.html", ["swept.svg", "measured.svg", "graph.svg"]),
        ("pictures", "swept.svg", ["graph.svg", "report.html"]),
    ],
)
def test_what_can_t_be_drawn_costs_itself_only(
    name: str,
    lost: str,
    kept: list[str],
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert main(["run", str(program), "--out", str(whole)]) == 0
    capsys.readouterr()
    monkeypatch.setattr(write, name, broken)
    assert main(["run", str(program), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert numbers(out) == numbers(whole)
    assert not (out / lost).exists()
    assert all((out / one).is_file() for one in kept)
    other, note = json.loads((out / "results.json").read_text())["notes"]
    assert "nothing in this loop depends on `k`" in other  # said of the whole run too
    assert "could not be made: no such glyph" in note
    assert "no such glyph" in said
    assert f"{lost}\n" not in said
    monkeypatch.undo()
    assert main(["run", str(program), "--out", str(out)]) == 0  # it is a run, and gives way to one
    assert (out / lost).is_file()


def test_ctrl_c_while_pictures_are_drawn(
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"

    def stopped(dot: str, path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "draw_dot", stopped)
    assert main(["run", str(program), "--out", str(out)]) == 130
    assert f"all numbers are in {out}" in capsys.readouterr().err
    assert numbers(out)["m"]
    assert not (out / "graph.svg").exists()
    monkeypatch.undo()
    assert main(["run", str(program), "--out", str(out)]) == 0


def test_what_a_dead_process_was_drawing_is_known_as_the_run_s(
    program: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    script = (
        "import os, sys\n"
        "from causaldsl.report import write\n"
        "def dies(dot, path):\n"
        "    path.write_text('half')\n"
        "    os._exit(9)\n"
        "write.draw_dot = dies\n"
        "from causaldsl.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    words = [sys.executable, "-c", script, "run", str(program), "--out", str(out)]
    assert subprocess.run(words, capture_output=True).returncode == 9
    assert numbers(out)["m"]
    assert (out / "graph.svg").read_text() == "half"
    assert "graph.svg" in (out / MARKER).read_text().splitlines()
    assert main(["run", str(program), "--out", str(out)]) == 0
    assert (out / "graph.svg").read_text() != "half"


def test_a_terminal_that_can_t_show_it(
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr("causaldsl.report.tables.print_results", broken)
    assert main(["run", str(program), "--out", str(out)]) == 0
    assert "can't be shown here: no such glyph" in capsys.readouterr().err
    assert numbers(out)["m"]


def test_a_terminal_of_ascii(program: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "causaldsl", "run", str(program), "--out", str(tmp_path / "é")]
    env = {**__import__("os").environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    done = subprocess.run(words, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert b"\\xe9" in done.stdout


def test_a_disk_that_is_full_at_the_end(
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_numbers", full)
    out = tmp_path / "run"
    assert main(["run", str(program), "--out", str(out)]) == 3
    shown, said = capsys.readouterr()
    assert "m (n = 4" in shown
    assert "could not be written: [Errno 28] No space left on device" in said
    assert not out.exists()
    assert list(tmp_path.iterdir()) == [program]
    found = api.run(program, out=out)
    assert found.folder is None
    assert "No space left" in found.unwritten
    assert found.results.measures["m"]["third"]["output"].n == 4
