"""What a run prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.cli import main

PROGRAM = """model toy = "toy/illusion"
pairs many = numbers(base: [1, 3, 0, -2.5], source: [2, -1, 4, 10])
pairs one = numbers(base: 1, source: 2)
site hidden = mlp_hidden[0]
subspace e1 = vector(hidden, [1, 0, 0])
subspace e3 = vector(hidden, [0, 0, 1])
audit of_e1 = illusion(e1, on: many)
let alias = of_e1
measure a_rather_long_name on one {
  third = patch hidden along e3
  again = patch hidden along e3
  report output
}
expect alias is illusory
expect 2 > 1
"""


def test_titles_verdicts_and_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "said.cpatch"
    path.write_text(PROGRAM)
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "a_rather_long_name (n = 1)" in lines
    assert "│ FELL │ alias is illusory │ faithful │ │ │ │" in lines
    assert "│ held │ 2 > 1 │ 2 │ 1 │ │ │" in lines
    said = "the intervention at mlp_hidden[0] @ END left every activation as it was"
    (note,) = [line for line in lines if said in line]
    assert note.startswith("note: a_rather_long_name.third")
