"""A grid of runs: programs by models, seeds and params, with each claim's verdicts side by side.

Every run has a folder that is named after all that its values depend on. One that is there is not
run again, so a grid that was stopped goes on where it was.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from causaldsl import api
from causaldsl.diagnostics import Mistake, ProgramError, RunFailure, render_all
from causaldsl.plan.settings import USUAL, Settings
from causaldsl.results.records import Results
from causaldsl.results.store import run_key
from causaldsl.studies.combine import combined, error_of
from causaldsl.studies.diff import named_numbers
from causaldsl.studies.runs import finite, read_run

_USUAL_LEVEL = 0.95
_DONE = (0, 1, 4)
"""Exit codes of a run that gave numbers."""
Tell = Callable[[str], None]
_Interval = tuple[float, float, float, int, float]
"""A number, both ends of its interval, over how many units it is, and the interval's level."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid: a program with its settings; ``model`` is one of these.

    ``label`` says which program of the grid it is, by default its stem.
    """

    program: Path
    settings: Mapping[str, str]
    seed: int
    label: str = ""

    @property
    def called(self) -> str:
        return self.label or self.program.stem

    @property
    def name(self) -> str:
        given = [f"{name}={value}" for name, value in self.settings.items()]
        return ", ".join([self.called, *given, f"seed {self.seed}"])


@dataclass(frozen=True)
class Grid:
    """What the runs gave, in the order of the grid; ``failed`` says why a run gave nothing."""

    cells: list[Cell]
    folders: dict[str, Path] = field(default_factory=dict)
    results: dict[str, Results] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """All of it as plain data: runs, each claim's verdicts, and each number combined."""
        runs = {
            cell.name: {"folder": str(self.folders.get(cell.name, "")) or None, **_about(cell)}
            | ({"failed": self.failed[cell.name]} if cell.name in self.failed else {})
            for cell in self.cells
        }
        return {"runs": runs, "claims": self.verdicts(), "numbers": self.numbers()}

    def verdicts(self) -> dict[str, dict[str, str]]:
        """By claim and run, whether it held. Of several programs, each has claims of its own."""
        found: dict[str, dict[str, str]] = {}
        of = self._programs()
        for name, results in self.results.items():
            for claim in results.expectations:
                found.setdefault(of[name] + claim.text, {})[name] = claim.verdict
        return found

    def numbers(self) -> dict[str, Any]:
        """Every number, and every claim's difference, in each run and over all of them.

        Of several programs, each has numbers of its own: one name may mean two things.
        """
        found: dict[str, dict[str, _Interval]] = {}
        of = self._programs()
        for run, results in self.results.items():
            for name, number in named_numbers(results):
                interval = (number.mean, number.low, number.high, number.n, _USUAL_LEVEL)
                found.setdefault(of[run] + name, {})[run] = interval
            for claim in results.expectations:
                ends = claim.difference, claim.low, claim.high
                mean, low, high = (math.nan if end is None else end for end in ends)
                if claim.n is not None:
                    interval = (mean, low, high, claim.n, claim.level)
                    found.setdefault(f"claim {of[run]}{claim.text}", {})[run] = interval
        shared = self.share_pairs()
        return {name: _combined(by_run, shared) for name, by_run in found.items()}

    def share_pairs(self) -> bool:
        """Whether a pair of one run is a pair of another too."""
        sets = [self._pairs_of(run, results) for run, results in self.results.items()]
        return any(a & b for a, b in itertools.combinations(sets, 2))

    def _pairs_of(self, run: str, results: Results) -> set[str]:
        """What identifies the pairs of a run: their digests, and both texts of each line."""
        found = {about["digest"] for about in results.provenance["pairs"].values()}
        folder = self.folders.get(run)
        for path in sorted((folder / "pairs").glob("*.jsonl")) if folder is not None else ():
            lines = map(json.loads, path.read_text("utf-8").splitlines())
            found |= {json.dumps([x.get("base", x.get("text")), x.get("source")]) for x in lines}
        return found

    def _programs(self) -> dict[str, str]:
        """By run, what its program's names begin with: nothing where there is one program."""
        several = len({cell.called for cell in self.cells}) > 1
        return {cell.name: f"{cell.called}: " if several else "" for cell in self.cells}


def grid(
    programs: Sequence[Path],
    models: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Sequence[str]],
) -> list[Cell]:
    """All combinations, in order."""
    axes = [[("model", model) for model in models]] if models else []
    axes += [[(name, value) for value in values] for name, values in settings.items()]
    labels = _labels(programs)
    return [
        Cell(program, dict(chosen), seed, labels[program])
        for program in labels
        for chosen in itertools.product(*axes)
        for seed in seeds
    ]


def _labels(programs: Sequence[Path]) -> dict[Path, str]:
    """What each program is called: its stem, or from where paths part if another has the same."""
    paths = {program: Path(os.path.abspath(program)).with_suffix("") for program in programs}
    unique = {path: program for program, path in reversed(paths.items())}
    stems = Counter(path.name for path in unique)
    root = os.path.commonpath([path.parent for path in unique]) if unique else ""
    return {
        program: path.name if stems[path.name] == 1 else path.relative_to(root).as_posix()
        for program, path in paths.items()
        if unique[path] == program
    }


def replicate(cells: list[Cell], out: Path, jobs: int, options: Sequence[str], tell: Tell) -> Grid:
    """Make all runs that are not there yet, ``jobs`` at a time, and read them all.

    ``options`` are more of `causaldsl run`. A run that fails costs itself.
    """
    found = Grid(cells)
    for cell in cells:
        try:
            found.folders[cell.name] = _folder(cell, out, options)
        except ProgramError as error:
            found.failed[cell.name] = render_all(error.diagnostics)
        except (Mistake, RunFailure) as error:
            found.failed[cell.name] = error.message
    missing = [c for c in cells if c.name in found.folders and not _there(found.folders[c.name])]
    tell(f"{len(cells)} runs: {len(cells) - len(missing) - len(found.failed)} are there")
    threads = max(1, (os.cpu_count() or 1) // jobs)

    def make(cell: Cell) -> None:
        tell(f"run: {cell.name}")
        if reason := _run(cell, found.folders[cell.name], options, threads):
            found.failed[cell.name] = reason
            tell(f"failed: {cell.name}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make, missing))
    for cell in cells:
        if cell.name not in found.failed:
            found.results[cell.name] = read_run(found.folders[cell.name]).results
    return found


def _folder(cell: Cell, out: Path, options: Sequence[str]) -> Path:
    """Where a run belongs: by the key of all that its values depend on."""
    compiled = api.with_weights(api.compile(cell.program, settings=dict(cell.settings)))
    given = dict(zip(options[::2], options[1::2], strict=True))
    dtype = given.get("--dtype")
    chosen = Settings(
        backend=given.get("--backend", "cone"),
        device=given.get("--device", "cpu"),
        dtype=dtype or USUAL,
        seed=cell.seed,
    ).of_program(compiled.program.model, dtype)
    key = run_key(compiled.graph, chosen, compiled.program.model)
    return out / cell.called / key


def _there(folder: Path) -> bool:
    return (folder / "results.json").is_file()


def _run(cell: Cell, folder: Path, options: Sequence[str], threads: int) -> str:
    """Make a run in a process of its own. Gives what it complained of, if it gave no numbers."""
    given = [f"--set={name}={value}" for name, value in cell.settings.items()]
    command = [sys.executable, "-m", "causaldsl", "run", str(cell.program), *given, *options]
    command += ["--seed", str(cell.seed), "--out", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, errors="replace"
    )
    return "" if done.returncode in _DONE and _there(folder) else done.stderr[-2000:].strip()


def _about(cell: Cell) -> dict[str, Any]:
    return {"program": str(cell.program), "settings": dict(cell.settings), "seed": cell.seed}


def _combined(by_run: Mapping[str, _Interval], shared: bool) -> dict[str, Any]:
    errors = [error_of(low, high, n, level) for _, low, high, n, level in by_run.values()]
    mean = combined([number[0] for number in by_run.values()], errors, shared)
    runs = {
        run: dict(zip(("mean", "low", "high", "n"), number[:4], strict=True))
        for run, number in by_run.items()
    }
    return {"runs": runs, "combined": None if mean is None else asdict(mean)}


def write_grid(found: Grid, out: Path) -> None:
    """Write the record, and a forest plot of the claims' differences."""
    out.mkdir(parents=True, exist_ok=True)
    record = found.record()
    text = json.dumps(finite(record), indent=1, ensure_ascii=False)
    (out / "replicate.json").write_text(text + "\n", "utf-8")
    from causaldsl.studies.forest import draw_forest

    numbers = record["numbers"].items()
    claims = {name.removeprefix("claim "): n for name, n in numbers if name.startswith("claim ")}
    if claims:
        draw_forest(claims, out / "forest.svg")
