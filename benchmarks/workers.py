"""What workers cost: a run by one Ray worker against the same run in one process, in turn.

    python benchmarks/workers.py [--program NAME] [--set NAME=VALUE ..] [--repetitions 2]

Both have all cores of the machine and a store of their own, and each is a process of its own. Start
is the time until the worker gives its first sign: Ray's processes, and the import of torch. CPU
seconds are those of all processes of a run, looked at a few times a second. Numbers by pair must
agree to float32's rounding. Writes workers.json, and the last section of docs/workers.md from it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from common import machine, stamp
from turns import LOGITS, significant

from causaldsl import api
from causaldsl.cluster.where import Workers

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "workers.json"
PAGE = ROOT / "docs/workers.md"
HEADER = "## Measured\n"
SIDES = ("one process", "one worker")
_MARK = "CAUSALDSL_BENCHMARK"
_LOOK = 0.3
"""Seconds between two looks at the processes."""
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="mlp_in_the_middle")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help="run this one alone, and print its numbers")
    options = parser.parse_args()
    program = ROOT / "programs" / f"{options.program}.cpatch"
    if options.side:
        settings = dict(text.split("=") for text in options.settings)
        print(json.dumps(run(program, options.side, settings)))
        return
    found = in_turn(options.repetitions)
    found |= {"program": options.program, "machine": machine()} | stamp("workers.py")
    OUT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(PAGE.read_text("utf-8"), found), "utf-8")


def run(program: Path, side: str, settings: dict[str, str]) -> dict[str, Any]:
    """Seconds of a run and of its start, and the numbers by pair, in this process."""
    began, start = time.perf_counter(), 0.0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal start
        if what.endswith(": starting"):
            start = time.perf_counter() - began

    workers = Workers("ray", 1) if side == "one worker" else None
    with tempfile.TemporaryDirectory() as store:
        made = api.run(program, store=store, workers=workers, settings=settings, progress=progress)
        seconds = time.perf_counter() - began
    values = [block.values.tolist() for block in made.by_pair]
    verdicts = [claim.verdict for claim in made.results.expectations]
    return {"seconds": seconds, "start": start, "values": values, "verdicts": verdicts}


def in_turn(repetitions: int) -> dict[str, Any]:
    """Each side's runs, and the median ratio of pairs of them."""
    sides: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for repetition in range(repetitions):
        results = {side: _started(side) for side in SIDES}
        _compare(*(results[side] for side in SIDES))
        for side, found in results.items():
            one = {name: significant(found[name]) for name in ("seconds", "start", "cpu", "load")}
            print(repetition, side, one, file=sys.stderr, flush=True)
            sides[side].append(one)
    ratios: dict[str, list[float]] = {"seconds": [], "cpu": []}
    for alone, worker in zip(*sides.values(), strict=True):
        ratios["seconds"].append((worker["seconds"] - worker["start"]) / alone["seconds"])
        ratios["cpu"].append(worker["cpu"] / alone["cpu"])
    middle = {f"{name}_ratio": significant(statistics.median(r)) for name, r in ratios.items()}
    return {"runs": sides} | middle


def _started(side: str) -> dict[str, Any]:
    """A side in a process of its own, with the CPU seconds of all that it starts."""
    mark, seen = uuid.uuid4().hex, dict[str, float]()
    threads = str(os.cpu_count() or 1)
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--side", side],
            stdout=out,
            env={**os.environ, _MARK: mark, "OMP_NUM_THREADS": threads},
        )
        loads = []
        while process.poll() is None:
            _look(mark, seen)
            loads.append(os.getloadavg()[0])
            time.sleep(_LOOK)
        assert process.returncode == 0, f"{side} ended with {process.returncode}"
        out.seek(0)
        found: dict[str, Any] = json.loads(out.read())
    return found | {"cpu": sum(seen.values()), "load": statistics.mean(loads)}


def _look(mark: str, seen: dict[str, float]) -> None:
    """Note the CPU seconds until now of every process with the mark in its environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}\0".encode() not in (folder / "environ").read_bytes():
                continue
            parts = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended, or is another user's
            continue
        seen[folder.name] = (int(parts[11]) + int(parts[12])) / _TICKS


def _compare(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["verdicts"] == other["verdicts"]
    for mine, theirs in zip(one["values"], other["values"], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert abs(a - b) < LOGITS or a != a, f"{a} and {b}"


def page(text: str, found: dict[str, Any]) -> str:
    """The page of workers with its last section made anew."""
    alone, worker = (
        {name: statistics.median(one[name] for one in found["runs"][side]) for name in _COLUMNS}
        for side in SIDES
    )
    lines = [HEADER, _ABOUT.format(pairs=len(found["runs"][SIDES[0]]), **found)]
    lines += ["| | " + " | ".join(_COLUMNS.values()) + " |", "| --- |" + " ---: |" * len(_COLUMNS)]
    for name, side in zip(SIDES, (alone, worker), strict=True):
        lines.append(f"| {name} | " + " | ".join(f"{side[c]:.3g}" for c in _COLUMNS) + " |")
    # The run itself wants all cores.
    busy = max(alone["load"], worker["load"]) > 1.5 * found["machine"]["cores"]
    lines += ["", (_BUSY if busy else _QUIET).format(**found)]
    return text.partition(HEADER)[0].rstrip() + "\n\n" + "\n".join(lines) + "\n"


_COLUMNS = {"seconds": "seconds", "start": "of these, start", "cpu": "CPU seconds", "load": "load"}
_ABOUT = """\
`{program}` by one Ray worker with all cores, and in one process with all cores ({date},
`{command}`;
{machine[cores]} cores of {machine[cpu]}, PyTorch {machine[torch]}). Pairs of runs: {pairs}; medians
over them. The load is how many processes wanted a core, others' work among them.
"""
_QUIET = """\
After its start, the run by a worker takes {seconds_ratio:.3g} times as long as the one alone; all
of its processes together, start included, take {cpu_ratio:.3g} times the CPU seconds."""
_BUSY = """\
More processes wanted a core than there were, so the two clocks can't be compared. All processes of
the run by a worker together, start included, take {cpu_ratio:.3g} times the CPU seconds; threads
that wait for one another on a busy machine count there as work."""


if __name__ == "__main__":
    main()
