"""`causaldsl run PROGRAM --out FOLDER` with clocks in it: see overhead.py.

    python benchmarks/clocked_run.py CLOCKS.json PROGRAM FOLDER

Nothing is imported before the run imports it itself: a clock is set into a module when that module
has been loaded.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_SECONDS = {"arithmetic": 0.0, "weights": 0.0}
_FIRST: list[float] = []
_depth = 0
"""Clocked calls inside clocked calls count once."""


def clocked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        global _depth
        _depth += 1
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            _depth -= 1
            if _depth == 0:
                _SECONDS[part] += time.perf_counter() - began

    return call


def _clock_backend(module: ModuleType) -> None:
    for name in ("ConeBackend", "HooksBackend"):
        backend = getattr(module, name, None)
        if backend is None or backend.__module__ != module.__name__:
            continue
        for method in [m for m in vars(backend) if not m.startswith("_") and m != "serves"]:
            if callable(getattr(backend, method)):
                setattr(backend, method, clocked("arithmetic", getattr(backend, method)))


def _clock_runs(module: ModuleType) -> None:
    """The first clean run that an operation asks for."""
    plain = module.PromptRuns.__init__

    def begin(self: Any, *given: Any, **named: Any) -> None:
        if not _FIRST:
            _FIRST.append(time.time())
        plain(self, *given, **named)

    module.PromptRuns.__init__ = begin


def _clock_learning(module: ModuleType) -> None:
    import torch

    torch.autograd.grad = clocked("arithmetic", torch.autograd.grad)
    module.Adam.step = clocked("arithmetic", module.Adam.step)


def _clock_weights(module: ModuleType) -> None:
    automatic = module.AutoModelForCausalLM
    timed = clocked("weights", automatic.from_pretrained)

    def read(folder: str, **options: Any) -> Any:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        automatic._model_mapping[type(config)]  # imports the class: that is not reading
        return timed(folder, **options)

    automatic.from_pretrained = read


def _clock_checkpoint(module: ModuleType) -> None:
    """Reading the weights without the module, as every run does once a first one was made."""
    module.read_checkpoint = clocked("weights", module.read_checkpoint)


_CLOCKS = {
    "causaldsl.engine.weights.checkpoint": _clock_checkpoint,
    "causaldsl.engine.cone.backend": _clock_backend,
    "causaldsl.engine.hooks.backend": _clock_backend,
    "causaldsl.engine.runs": _clock_runs,
    "causaldsl.engine.das": _clock_learning,
    "transformers.models.auto.modeling_auto": _clock_weights,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules as usual, and sets clocks into some of them once they are loaded."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in _CLOCKS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            _CLOCKS[name](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def main() -> None:
    clocks, program, folder = sys.argv[1:]
    sys.meta_path.insert(0, _Finder())
    from causaldsl.__main__ import leave
    from causaldsl.cli import main as run
    from causaldsl.process import owned

    with owned():
        code = run(["run", program, "--out", folder, "--store", "none"])
    assert _FIRST, "no clean run was made"
    Path(clocks).write_text(json.dumps(_SECONDS | {"first_run": _FIRST[0]}))
    leave(code)


if __name__ == "__main__":
    main()
