"""The notebooks of docs/ run from start to end, with IPython where it is installed and without.

Without, the shell is a small one that knows `%load_ext`, cell magics and Python, so that what
`%%cpatch` does is tested everywhere.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import causaldsl as cd
from tests.tiny import tiny_folder

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.ipynb"))
TOY = """model toy = "toy/illusion"
param by = 1
pairs up = numbers(base: 1, source: 2)
site h = mlp_hidden[0]
measure m on up { a = patch h  b = steer h along neurons(h, [0]) by by  report output }
sweep s on up { for k in 0..1: steer h along neurons(h, [0]) by k  report output }
expect m.a.output == 2
plot m
"""


class Shell:
    """What `%%cpatch` needs of IPython."""

    def __init__(self) -> None:
        self.user_ns: dict[str, Any] = {}
        self.magics: dict[str, Callable[[str, str], Any]] = {}

    def register_magic_function(self, function: Any, kind: str, name: str) -> None:
        assert kind == "cell"
        self.magics[name] = function

    def run(self, cell: str) -> Any:
        """Run a cell as a notebook does. Gives the value of its last expression."""
        if cell.startswith("%load_ext"):
            return cd.load_ipython_extension(self)
        if cell.startswith("%%"):
            head, _, body = cell.partition("\n")
            name, _, line = head[2:].partition(" ")
            return self.magics[name](line, body)
        *before, last = ast.parse(cell).body
        exec(compile(ast.Module(before, []), "cell", "exec"), self.user_ns)
        if not isinstance(last, ast.Expr):
            exec(compile(ast.Module([last], []), "cell", "exec"), self.user_ns)
            return None
        return eval(compile(ast.Expression(last.value), "cell", "eval"), self.user_ns)


def cells(notebook: Path) -> list[str]:
    found = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, with a small model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("START_MODEL", str(tiny_folder(tmp_path, "llama")))
    return tmp_path


def test_the_first_notebook_has_ten_cells() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["illusion", "own_model_and_data"]
    assert len(json.loads(NOTEBOOKS[0].read_text())["cells"]) == 10


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, place: Path) -> None:
    shell = Shell()
    shown = [shell.run(cell) for cell in cells(notebook)]
    runs = [one for one in shown if isinstance(one, cd.Run)]
    assert runs
    for run in runs:
        assert run.held
        assert "<table" in run._repr_html_()
        assert run.folder is None
    assert next(one for one in shown if hasattr(one, "_repr_svg_"))._repr_svg_().startswith("<svg")


@pytest.mark.skipif(importlib.util.find_spec("IPython") is None, reason="IPython isn't installed")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_ipython(notebook: Path, place: Path) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.reset()
    for cell in cells(notebook):
        shell.run_cell(cell).raise_error()
    failed = shell.run_cell('%%cpatch\nmodel lm = "toy/ilusion"')
    assert type(failed.error_in_exec).__name__ == "UsageError"


def test_the_numbers_are_a_frame_with_the_loop_variables() -> None:
    shell = Shell()
    cd.load_ipython_extension(shell)
    run = shell.magics["cpatch"]("named --set by=5", TOY)
    assert shell.user_ns["named"] is run
    assert run.measures["m"].rows[0] == {
        "arm": "clean", "metric": "output", "mean": 1.0, "n": 1,
        "low": run.results.measures["m"]["clean"]["output"].low,
        "high": run.results.measures["m"]["clean"]["output"].high,
    }  # fmt: skip
    by_arm = {row["arm"]: row["mean"] for row in run.measures["m"].rows}
    assert by_arm == {"clean": 1.0, "a": 2.0, "b": 6.0}
    swept = run.measures["s"].to_arrow().to_pylist()
    assert [(row["k"], row["mean"]) for row in swept] == [(None, 1.0), ("0", 1.0), ("1", 2.0)]
    assert run.measures["m"]["a"]["output"].mean == 2
    assert repr(run) == "<Run: 1 claims, held; measured: m, s>"
    assert {"m", "s"} <= run.pictures.keys()


def test_what_is_shown_is_escaped() -> None:
    run = cd.run(TOY.replace("expect m.a.output == 2", "expect m.a.output < 3"))
    assert "expect" not in run._repr_html_()
    assert "m.a.output &lt; 3" in run._repr_html_()


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        ("", TOY.replace("patch h", "pach h"), "did you mean `patch`?"),
        ("", 'model lm = "toy/illusion"\npairs mine = given', "toy/illusion reads numbers"),
        ("--sett by=2", TOY, "--sett"),
        ("1x", TOY, "1x"),
        ("--set layer=2", TOY, "no param `layer`"),
    ],
)
def test_a_mistake_ends_the_cell_with_its_message(line: str, text: str, said: str) -> None:
    shell = Shell()
    cd.load_ipython_extension(shell)
    with pytest.raises(Exception, match=said) as error:
        shell.magics["cpatch"](line, text)
    assert type(error.value).__name__ in ("ValueError", "UsageError")


def test_check_runs_nothing() -> None:
    shell = Shell()
    cd.load_ipython_extension(shell)
    assert shell.magics["cpatch"]("--check", TOY) == "right: 1 claims, 0 warnings"
    assert shell.user_ns == {}
