"""Commands that take several programs or standard input, and those that begin and list work."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from causaldsl.check.program import check_file
from causaldsl.cli import main
from causaldsl.commands.new import STARTERS
from causaldsl.commands.progress import progress_lines
from causaldsl.diagnostics import Source
from causaldsl.syntax.format import format_program
from causaldsl.syntax.parse import parse

RIGHT = 'model toy = "toy/illusion"\n'
WRONG = RIGHT + "site a = hidden[0]\nexpect b > 1\n"
UGLY = 'model   toy="toy/illusion"\n'


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a text on standard input."""

    def give(text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("right", RIGHT), ("wrong", WRONG), ("ugly", UGLY)):
        Path(f"{name}.cpatch").write_text(text)
    return tmp_path


def test_check_takes_many_programs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "right.cpatch", "wrong.cpatch", "none.cpatch", "ugly.cpatch"]) == 2
    out, errors = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["right.cpatch", "ugly.cpatch"]
    assert "wrong.cpatch:2:10" in errors
    assert "wrong.cpatch:3:8" in errors
    assert "there is no program none.cpatch" in errors
    assert errors.endswith("2 of 4 programs are wrong\n")
    assert main(["check", "right.cpatch", "ugly.cpatch"]) == 0


def test_check_reads_standard_input(
    files: Path, given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given(RIGHT.strip())
    assert main(["check", "-"]) == 0
    assert capsys.readouterr().out.startswith("the program is right: toy/illusion")
    given(WRONG)
    assert main(["check", "-"]) == 2
    assert "<text>:3:8" in capsys.readouterr().err
    given(b"model \xff")
    assert main(["check", "-"]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_check_says_what_it_found_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "right.cpatch", "wrong.cpatch", "none.cpatch"]) == 2
    right, wrong, none = json.loads(capsys.readouterr().out)["programs"]
    assert right == {"program": "right.cpatch", "right": True, "diagnostics": []}
    assert not wrong["right"]
    first, second = wrong["diagnostics"]
    assert WRONG.splitlines()[1][first["column"] - 1 : first["end_column"] - 1] == "hidden"
    assert (second["file"], second["line"], second["end_line"]) == ("wrong.cpatch", 3, 3)
    assert first["level"] == "error"
    assert first["help"]
    assert none["diagnostics"][0]["code"] == "missing-file"


def test_format_takes_many_programs_and_standard_input(
    files: Path, given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["format", "--diff", "ugly.cpatch", "right.cpatch"]) == 1
    assert f"-{UGLY}+{RIGHT}" in capsys.readouterr().out
    assert main(["format", "--check", "right.cpatch", "ugly.cpatch"]) == 1
    assert Path("ugly.cpatch").read_text() == UGLY
    given(UGLY)
    capsys.readouterr()
    assert main(["format", "-"]) == 0
    assert capsys.readouterr().out == RIGHT
    Path("broken.cpatch").write_text("site = =\n")
    assert main(["format", "broken.cpatch", "ugly.cpatch"]) == 2
    assert "broken.cpatch:1" in capsys.readouterr().err
    assert Path("ugly.cpatch").read_text() == RIGHT


def test_a_new_notebook_has_no_outputs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells run in tests/test_wheel.py."""
    assert main(["new", "mine", "--from", "notebook"]) == 0
    said = capsys.readouterr().out
    assert "mine/mine.ipynb is there" in said
    assert "causaldsl run" not in said
    cells = json.loads(Path("mine/mine.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    (cell,) = ("".join(c["source"]) for c in cells if "".join(c["source"]).startswith("%%cpatch"))
    program = cell.partition("\n")[2]
    assert format_program(parse(Source("cell", program))) == f"{program}\n"


@pytest.mark.parametrize("start", [start for start in STARTERS if start != "notebook"])
def test_a_new_program_is_right(
    start: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "mine", "--from", start]) == 0
    path = Path("mine/mine.cpatch")
    assert str(path) in capsys.readouterr().out
    program = check_file(path)
    assert not program.warnings
    assert program.claims
    assert format_program(parse(program.source)) == program.source.text
    assert main(["new", "mine"]) == 2
    assert "there already" in capsys.readouterr().err


def test_runs_are_listed_with_their_claims(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 2
    assert "no folder runs" in capsys.readouterr().err
    Path("claims.cpatch").write_text(f"{RIGHT}expect 1 > 0\nexpect 2 > 1\nexpect 0 > 1\n")
    assert main(["run", "claims.cpatch"]) == 1
    Path("runs/other").mkdir()
    Path("runs/other/results.json").write_text("{}")
    capsys.readouterr()
    assert main(["runs"]) == 0
    out, errors = capsys.readouterr()
    assert "1 fell, 2 held" in out
    assert "toy/illusion" in out
    assert "runs/other/results.json" in errors
    assert main(["runs", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert run["program"] == "claims.cpatch"
    assert run["claims"] == {"held": 2, "fell": 1}
    assert Path(run["run"], "results.json").is_file()


def test_a_shell_completes_commands_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--completion", "bash"])
    assert end.value.code == 0
    script = capsys.readouterr().out
    assert "replicate" in script
    assert "_shtab_causaldsl_check_pos_0_COMPGEN" in script


def test_without_a_terminal_progress_is_a_line_now_and_then() -> None:
    now, said = [0.0], list[str]()
    tell = progress_lines(said.append, lambda: now[0])
    for second in range(0, 130, 5):
        now[0] = float(second)
        if second < 60:
            tell("reading weights", 0, 0)
        else:
            tell("runs", second - 60, 200)
    assert said == [
        "reading weights",
        "runs: 0 of 200",
        "runs: 30 of 200, about 3 min left",
        "runs: 60 of 200, about 3 min left",
    ]


def test_a_short_run_says_nothing_of_its_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'model toy = "toy/illusion"\npairs up = numbers(base: 1, source: 2)\n'
    (tmp_path / "a.cpatch").write_text(
        text + "measure m on up { a = patch mlp_hidden[0]  report output }\n"
    )
    assert main(["run", str(tmp_path / "a.cpatch"), "--out", str(tmp_path / "out")]) == 0
    assert " of " not in capsys.readouterr().err
