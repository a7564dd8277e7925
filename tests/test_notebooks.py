"""What `%%cpatch` does, in a small shell that knows cell magics, so without IPython.

The notebooks of docs/ run in IPython from start to end in test_wheel.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import causaldsl as cd

ILLUSION = Path(__file__).parents[1] / "docs/notebooks/illusion.ipynb"
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


def test_the_first_notebook_has_ten_cells() -> None:
    assert len(json.loads(ILLUSION.read_text())["cells"]) == 10


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
    assert run.pictures.keys() == {"m", "graph"}


def test_what_a_run_has_prints_in_a_line(tmp_path: Path) -> None:
    run = cd.run(TOY, out=tmp_path / "run")
    again = cd.load_run(tmp_path / "run")
    assert again.pictures.keys() == run.pictures.keys() == {"m", "graph"}
    for one in (run, again):
        assert str(one.claims) == "held: m.a.output == 2"
        assert repr(one.claims) == "<Claims: 1 held>"
        assert repr(one.measures["m"]) == "<Numbers m: arms clean, a, b; metrics output>"
        assert len(repr(one.pictures)) < 200
        assert "<svg" in one.pictures["graph"].svg
        with pytest.raises(KeyError) as refused:
            one.pictures["s"]
        assert str(refused.value) == (
            "the run has no picture 's'; pictures here: graph, m; `plot NAME` in the program draws "
            "a measure, sweep or other result"
        )
        with pytest.raises(KeyError, match="the run has no measure 'n'; measures here: m, s"):
            one.measures["n"]
        with pytest.raises(KeyError, match="the run has no arm 'c'; arms here: a, b, clean"):
            one.measures["m"]["c"]
        assert one.pictures.get("s") is None


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
