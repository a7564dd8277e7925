"""Options that do nothing as they are given are refused, with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from causaldsl.cli import main

ALONE = """error[option-alone]: `{0}` does nothing without {1}
  help: add {1}, or leave `{0}` out
"""
AT_ALL = "`--on ray` or `--on slurm`"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run p.cpatch --workers 4", ALONE.format("--workers", AT_ALL)),
        ("run p.cpatch --gpus-per-worker 0", ALONE.format("--gpus-per-worker", AT_ALL)),
        ("run p.cpatch --partition gpu", ALONE.format("--partition", AT_ALL)),
        ("run p.cpatch --minutes 10", ALONE.format("--minutes", AT_ALL)),
        ("run p.cpatch --patience 10", ALONE.format("--patience", AT_ALL)),
        ("run p.cpatch --on ray --partition gpu", ALONE.format("--partition", "`--on slurm`")),
        ("run p.cpatch --on ray:a:1 --minutes 9", ALONE.format("--minutes", "`--on slurm`")),
        ("run p.cpatch --on slurm --patience 9", ALONE.format("--patience", "`--on ray`")),
        ("check p.cpatch --backend cone", ALONE.format("--backend", "`--cost`")),
        ("check p.cpatch --dtype float64 --tree", ALONE.format("--dtype", "`--cost`")),
        ("graph p.cpatch --memory 1G", ALONE.format("--memory", "`--plan`")),
        (
            "run p.cpatch --on ray --workers 0",
            """error[bad-workers]: a run can't be done by 0 workers
  help: give at least one: --workers 1
""",
        ),
        (
            "run p.cpatch --on slurm --minutes 0",
            """error[bad-workers]: a job can't end within 0 minutes
  help: give at least one minute: --minutes 1
""",
        ),
        (
            "run p.cpatch --on slurm --gpus-per-worker 0.5",
            """error[bad-workers]: a worker can't have 0.5 GPUs
  help: give a whole number, such as --gpus-per-worker 1
""",
        ),
        (
            "run p.cpatch --on ray --gpus-per-worker nan",
            """error[bad-workers]: a worker can't have nan GPUs
  help: give a number, such as --gpus-per-worker 1
""",
        ),
        (
            "run p.cpatch --on ray --patience -1",
            """error[bad-workers]: a worker can't be waited for -1 s
  help: give seconds: --patience 1800
""",
        ),
    ],
)
def test_what_does_nothing_is_refused(
    command: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.cpatch").write_text('model toy = "toy/illusion"\n')
    assert main(command.split()) == 2
    assert capsys.readouterr() == ("", said)


def test_they_do_something_where_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.cpatch").write_text('model toy = "toy/illusion"\n')
    work = ["--backend", "hooks", "--dtype", "float64", "--memory", "1G"]
    assert main(["graph", "p.cpatch", "--plan", *work]) == 0
    assert capsys.readouterr().err == ""
