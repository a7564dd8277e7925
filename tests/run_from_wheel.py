"""Run by the Python of the environment that test_wheel.py makes, in an empty folder: begins every
program that `causaldsl new` has and runs it, and runs the notebooks that are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

import causaldsl as cd
from causaldsl.cli import main
from causaldsl.commands.new import STARTERS


def run_notebook(path: Path) -> None:
    """All cells from the first to the last. What a run shows is there, and its claims held."""
    shell = InteractiveShell.instance()
    shell.reset()
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    shown = [run_cell(shell, "".join(cell["source"])) for cell in cells]
    runs = [one for one in shown if isinstance(one, cd.Run)]
    assert runs, path
    for run in runs:
        assert run.held, (path, run)
        assert "<table" in run._repr_html_()
        assert run.folder is None
    picture = next(one for one in shown if hasattr(one, "_repr_svg_"))
    assert picture._repr_svg_().startswith("<svg")


def run_cell(shell: InteractiveShell, cell: str) -> Any:
    done = shell.run_cell(cell)
    done.raise_error()
    return done.result


def refuses_a_mistake() -> None:
    """A wrong program ends its cell as IPython ends the wrong use of a magic."""
    failed = InteractiveShell.instance().run_cell('%%cpatch\nmodel lm = "toy/ilusion"')
    assert type(failed.error_in_exec).__name__ == "UsageError"


for start in STARTERS:
    name = f"my_{start}"
    assert main(["new", name, "--from", start]) == 0
    (begun,) = Path(name).glob(f"{name}.*")
    if begun.suffix == ".ipynb":
        run_notebook(begun)
    else:
        assert main(["run", str(begun), "--out", f"runs/{start}"]) == 0, start
        assert Path(f"runs/{start}/report.html").is_file()
        assert Path(f"runs/{start}/graph.svg").is_file()
        again = cd.load_run(f"runs/{start}")
        assert again.held
        assert all(numbers.rows for numbers in again.measures.values())
for name in sys.argv[1:]:
    run_notebook(Path(name))
refuses_a_mistake()
print(f"all of {Path(cd.__file__).parent}")
