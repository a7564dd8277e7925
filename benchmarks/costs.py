"""What `check --cost` reckons, against runs: every program that runs its model, each in a process.

    python benchmarks/costs.py [--only NAME ..] [--again]

Calibrates first. With --again nothing is measured: runs that were are reckoned anew, by the
profile of this machine. Of a run it takes the seconds of the processor by its threads (on a busy
machine the clock says less), the most memory, and how large a new store has become. Writes
costs.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from common import machine, stamp
from turns import significant

from causaldsl import api
from causaldsl.engine.calibrate import calibrate
from causaldsl.plan.machine import processor, remember, this_machine

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "costs.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = sorted(path.stem for path in (ROOT / "programs").glob("*.cpatch"))
    parser.add_argument("--only", nargs="+", default=names)
    parser.add_argument("--again", action="store_true", help="only reckon what was measured")
    options = parser.parse_args()
    if not options.again:
        remember(calibrate(processor()))
    found = json.loads(OUT.read_text())["programs"] if OUT.exists() else {}
    for name in (name for name in options.only if name in found or not options.again):
        print(name, file=sys.stderr, flush=True)
        path = ROOT / "programs" / f"{name}.cpatch"
        reckoned = _reckoned(path)
        if not reckoned["passes"]:  # there to be imported
            continue
        run = found[name] if options.again else {"run": _measured(path)} | stamp("costs.py")
        found[name] = run | {"reckoned": reckoned}
        written = {"machine": machine(), "profile": this_machine().model_dump(), "programs": found}
        OUT.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")


def _reckoned(path: Path) -> dict[str, Any]:
    cost = api.cost(path)
    return {
        "seconds": significant(cost.time),
        "memory": cost.most,
        "store": cost.stored,
        "passes": cost.passes,
        "flops": cost.flops,
        "parts": {name: significant(value) for name, value in cost.seconds.items()},
    }


def _measured(path: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        command = [sys.executable, "-m", "causaldsl", "run", str(path), "--out", f"{folder}/run"]
        log = os.open(f"{folder}/log", os.O_CREAT | os.O_WRONLY)
        to_log = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        run = os.posix_spawn(
            sys.executable, [*command, "--store", str(store)], os.environ, file_actions=to_log
        )
        _, status, used = os.wait4(run, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 1, 4), Path(folder, "log").read_text()
        kept = sum(one.stat().st_size for one in store.rglob("*") if one.is_file())
    threads = torch.get_num_threads()
    seconds = significant((used.ru_utime + used.ru_stime) / threads)
    return {
        "seconds": seconds,
        "threads": threads,
        "memory": used.ru_maxrss * 1024,
        "store": kept,
    }


if __name__ == "__main__":
    main()
