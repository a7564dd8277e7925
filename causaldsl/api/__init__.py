"""Check, compile and run programs from Python.

Nothing here prints, and nothing of the process stays changed.
"""

from causaldsl.api.found import Found, KeptRun, Run, load_run
from causaldsl.api.program import Compiled, Params, Program, check, compile, cost, plan
from causaldsl.api.running import run, run_compiled, with_weights

__all__ = [
    "Compiled",
    "Found",
    "KeptRun",
    "Params",
    "Program",
    "Run",
    "check",
    "compile",
    "cost",
    "load_run",
    "plan",
    "run",
    "run_compiled",
    "with_weights",
]
