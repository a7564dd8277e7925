"""Measures what costs are reckoned with (``plan/machine.py``): products, blocks, starts, reads.

Times are those of the processor, by the threads that share the work: what else the machine does
meanwhile makes them little longer. So a cost is that of a machine which does nothing else.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch.nn import functional as F

from causaldsl.plan.machine import Machine

ROWS = (1, 16, 64, 256, 1024)
_OUTPUTS, _INPUTS = 3072, 768
_ATLEAST = 0.3
"""Seconds that each number is measured for."""
_OPERATIONS = 60
"""Calls of PyTorch that a block makes, about (``cone/decoder.py``)."""
_WRITTEN = 64 * 2**20
_PROGRAM = """\
model toy = "toy/two-heads"
pairs up = numbers(base: 1, source: 2)
measure m on up { a = patch head[0.0].z  report output }
table t { for s in {1, 2}: twice = m.a.output * s }
plot t
"""
_SAYS = """
import sys, time
from causaldsl.cli import main
code = main(["run", *sys.argv[1:], "--store", "none"])
try:
    import resource
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
except ImportError:  # on Windows
    most = 512 * 1024
print(time.process_time(), most)
sys.exit(code)
"""


def calibrate(name: str) -> Machine:
    """This machine, measured on the CPU threads that PyTorch uses here."""
    weight = torch.randn(_OUTPUTS, _INPUTS)
    rates, threads = {}, torch.get_num_threads()
    for rows in ROWS:
        x = torch.randn(rows, _INPUTS)
        seconds = _each(lambda x=x: F.linear(x, weight)) / threads  # type: ignore[misc]
        rates[rows] = 2 * rows * weight.numel() / seconds
    small = torch.randn(1, 1, 1, 64)
    start, base = _started()
    return Machine(
        name=name,
        threads=threads,
        measured=date.today().isoformat(),
        rates=rates,
        block=_OPERATIONS * _each(lambda: small * small),
        start=start,
        read=_read(),
        base=base,
    )


def _each(work: Callable[[], object]) -> float:
    """Median seconds of the processor for single calls, in five stretches of some."""
    work()
    began = time.process_time()
    work()
    calls = max(1, int(_ATLEAST / 5 / max(1e-7, time.process_time() - began)))
    found = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(calls):
            work()
        found.append((time.process_time() - began) / calls)
    return statistics.median(found)


def _started() -> tuple[float, int]:
    """Seconds and bytes that a process takes for the smallest run, as it says itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "smallest.cpatch"
        path.write_text(_PROGRAM, encoding="utf-8")
        asked = [sys.executable, "-c", _SAYS, str(path), "--out", f"{folder}/run"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
    seconds, kilobytes = done.stdout.split()[-2:]
    return float(seconds), int(kilobytes) * 1024


def _read() -> float:
    """Bytes of a file read into tensors in a second, out of the system's cache if it is there."""
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "read.safetensors"
        save_file({"x": torch.zeros(_WRITTEN // 4)}, path)
        seconds = _each(lambda: load_file(path)["x"].clone())
    return _WRITTEN / seconds
