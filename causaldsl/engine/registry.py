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

Together = Callable[[Any, list[Operation]], list[Any]]
"""The same for operations that share a pass: their values, in their order."""

_EVALUATORS: dict[type[Word], Evaluator] = {}
_TOGETHER: dict[type[Word], Together] = {}


def evaluates(word: type[Word]) -> Callable[[Evaluator], Evaluator]:
    """Register the function that evaluates a word."""

    def register(function: Evaluator) -> Evaluator:
        if word in _EVALUATORS:
            raise ValueError(f"{word.__name__} has two evaluators")
        _EVALUATORS[word] = function
        return function

    return register


def evaluates_together(word: type[Word]) -> Callable[[Together], Together]:
    """Register the function that evaluates all operations of a pass."""

    def register(function: Together) -> Together:
        if word in _TOGETHER:
            raise ValueError(f"{word.__name__} has two evaluators")
        _TOGETHER[word] = function
        return function

    return register


def evaluate(session: Any, operations: list[Operation]) -> list[Any]:
    """The values of operations of one word. A word without a function is a bug."""
    _discover()
    word = type(operations[0].word)
    if word in _TOGETHER:
        return _TOGETHER[word](session, operations)
    return [_EVALUATORS[word](session, operation) for operation in operations]


@cache
def _discover() -> None:
    package = importlib.import_module("causaldsl.engine.words")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"causaldsl.engine.words.{module.name}")
