"""What a run costs beside the model's arithmetic, and how long it takes to start.

`causaldsl run` is started as a user starts it, in a process of its own, with clocks set into it:

- arithmetic: all calls of a backend, the loss over the vocabulary, backward passes, optimiser steps
- weights: reading them
- everything else, from the start of the process to its end, is overhead: Python and its imports,
  checking, compiling, planning, statistics, pictures, files

Start-up lasts from the start of the process until the first clean run begins, less reading the
weights; imports, and the check of our forward pass against the model's own, are part of it. How
much of it torch is is shown by a process that only imports torch. The first run with a model also
imports transformers and builds the module; that is the warm-up, unless it was made before.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turns import significant

ROOT = Path(__file__).parents[1]
_IMPORT = "import gc; gc.disable(); import torch; gc.freeze()"  # as our own start does
_CLOCKS = Path(__file__).parent / "clocked_run.py"


def overhead(program: Path, repetitions: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Medians over ``repetitions`` runs of a program, after one of warm-up, as plain data."""
    runs = []
    for repetition in range(repetitions + 1):
        say(f"overhead of {program.stem}: {repetition or 'warm-up'} of {repetitions}")
        runs.append(_run(program) | {"torch": _torch()})
    middle = {
        part: significant(statistics.median(run[part] for run in runs[1:])) for part in runs[0]
    }
    return {
        "program": program.name,
        "repetitions": repetitions,
        **middle,
        "share": significant(middle["overhead"] / middle["whole"]),
        "own_share": significant(_own(runs, "overhead") / middle["whole"]),
        "own_start_up": significant(_own(runs, "start_up")),
    }


def _own(runs: list[dict[str, float]], part: str) -> float:
    """Median seconds beyond those of the process that only imports torch."""
    return statistics.median(run[part] - run["torch"] for run in runs[1:])


def _torch() -> float:
    """Seconds of a process that does nothing but import torch."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True)
    return time.perf_counter() - began


def _run(program: Path) -> dict[str, float]:
    """Seconds of the parts of one run."""
    with tempfile.TemporaryDirectory() as folder:
        clocks = Path(folder) / "clocks.json"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        # As by default: what a first start has compiled is kept for the next one.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        began = time.time()
        done = subprocess.run(
            [sys.executable, str(_CLOCKS), str(clocks), str(program), folder + "/run"],
            env=environment,
            capture_output=True,
            text=True,
        )
        ended = time.time()
        assert done.returncode in (0, 1), done.stderr  # 1: a claim fell
        found = json.loads(clocks.read_text())
    whole = ended - began
    return {
        "whole": whole,
        "arithmetic": found["arithmetic"],
        "weights": found["weights"],
        "overhead": whole - found["arithmetic"] - found["weights"],
        "start_up": found["first_run"] - began - found["weights"],
    }
