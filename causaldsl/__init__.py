"""causaldsl: a declarative language for causal-intervention experiments on transformers."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from causaldsl.version import VERSION as __version__

if TYPE_CHECKING:
    from causaldsl.api import Compiled, KeptRun, Run, check, compile, cost, load_run, run
    from causaldsl.cluster.where import Workers
    from causaldsl.diagnostics import Mistake, ProgramError, RunFailure

_PLACES = {"Workers": "cluster.where"}
_PLACES |= dict.fromkeys(["Mistake", "ProgramError", "RunFailure"], "diagnostics")
"""Where names are that are not in `causaldsl.api`."""
__all__ = [
    "Compiled",
    "KeptRun",
    "Mistake",
    "ProgramError",
    "Run",
    "RunFailure",
    "Workers",
    "__version__",
    "check",
    "compile",
    "cost",
    "load_run",
    "run",
]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext causaldsl` adds `%%cpatch` to a notebook."""
    from causaldsl.commands.notebook import register

    register(shell)


class _Package(ModuleType):
    """Imports `causaldsl.api` when one of its names is used: it costs nothing before.

    ``check`` is a function here although a folder has the same name. Python binds the folder to the
    package when something imports it; the setter keeps the function.
    """

    @property
    def check(self) -> Any:
        return self.__getattr__("check")

    @check.setter
    def check(self, folder: ModuleType) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"causaldsl.{_PLACES.get(name, 'api')}"), name)


sys.modules[__name__].__class__ = _Package
