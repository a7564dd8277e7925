"""Conversions that need transformers: each is a module that is run as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_converter(module: str, source: Path, folder: Path) -> str | None:
    """Run ``python -m module source folder``, without a network.

    Gives None if all went well, else the last line of what it said.
    """
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", module, str(source), str(folder)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.returncode:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
