"""Registers that are filled by import: each file of a folder registers what it has."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

Key = TypeVar("Key", bound=type)
Entry = TypeVar("Entry")
Function = TypeVar("Function", bound=Callable[..., Any])


def enter(register: dict[Key, Entry], key: Key, entry: Entry) -> None:
    """Put what belongs to a class into a register. Raises ValueError for a second entry."""
    if key in register:
        raise ValueError(f"{key.__name__} is registered twice")
    register[key] = entry


def into(
    register: dict[Any, Any], *keys: type, entry: Callable[[Any], Any] = lambda function: function
) -> Callable[[Function], Function]:
    """A decorator that registers a function, or the ``entry`` made of it, for some classes."""

    def decorate(function: Function) -> Function:
        for key in keys:
            enter(register, key, entry(function))
        return function

    return decorate


@cache
def import_all(name: str) -> None:
    """Import a package and every module in it, or a module that stands alone."""
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        importlib.import_module(f"{name}.{module.name}")
