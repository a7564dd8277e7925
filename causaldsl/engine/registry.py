"""Which function evaluates which word: registered beside the function, found by import."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any

from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.base import Word

Evaluator = Callable[[Any, Operation], Any]
"""Takes the session and the operation; gives the operation's value."""

_EVALUATORS: dict[type[Word], Evaluator] = {}


def evaluates(word: type[Word]) -> Callable[[Evaluator], Evaluator]:
    """Register the function that evaluates a word."""

    def register(function: Evaluator) -> Evaluator:
        if word in _EVALUATORS:
            raise ValueError(f"{word.__name__} has two evaluators")
        _EVALUATORS[word] = function
        return function

    return register


def evaluator(word: Word) -> Evaluator:
    """The function that evaluates this word. A word without one is a bug."""
    _discover()
    return _EVALUATORS[type(word)]


@cache
def _discover() -> None:
    package = importlib.import_module("causaldsl.engine.words")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"causaldsl.engine.words.{module.name}")
