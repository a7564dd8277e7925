"""Which function evaluates which word: registered beside the function, found by import.

An evaluator gets its operation as ``here``, if that is its first parameter, and by name the values
of the operands that it needs: None for one that was left out, a list for one of several values::

    @evaluates(Cos)
    def cos(left: SubspaceValue, right: SubspaceValue) -> float: ...

    @evaluates(Random)
    def random(here: Here[Random]) -> SubspaceValue: ...
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from causaldsl.diagnostics import RunFailure
from causaldsl.discovery import import_all, into
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.base import Word

SEVERAL = ("subspaces", "numbers")
"""Kinds of operands that several operations give: an evaluator gets the list of their values."""

Function = Callable[..., Any]

Together = Callable[[Any, list[Operation]], list[Any]]
"""For operations that share a pass: takes the session and them, gives their values in order."""


@dataclass(frozen=True)
class Evaluator:
    """A function, and how it is called: with the operation or without, with which inputs."""

    function: Function
    takes_here: bool
    inputs: dict[str, bool]
    """Roles of inputs, and whether all of that role are taken, as a list."""

    def __call__(self, here: Any) -> Any:
        return self.call(here, {role: self.given(here, role) for role in self.inputs})

    def given(self, here: Any, role: str) -> Any:
        """What the operation has for an input."""
        return here.values(role) if self.inputs[role] else here.value(role)

    def call(self, here: Any, given: dict[str, Any]) -> Any:
        """The function's value for these inputs."""
        return self.function(here, **given) if self.takes_here else self.function(**given)


_EVALUATORS: dict[type[Word], Evaluator] = {}
_TOGETHER: dict[type[Word], Together] = {}


def evaluates(word: type[Word]) -> Callable[[Function], Function]:
    """Register the function that evaluates a word.

    Raises:
        TypeError: if it names an input that is no operand of the word.
    """

    def evaluator(function: Function) -> Evaluator:
        names = list(inspect.signature(function).parameters)
        takes_here = names[:1] == ["here"]
        several = {operand.name: operand.kind in SEVERAL for operand in word.operands}
        inputs = names[takes_here:]
        if unknown := set(inputs) - several.keys():
            raise TypeError(f"{word.word} has no operand {min(unknown)}")
        return Evaluator(function, takes_here, {name: several[name] for name in inputs})

    return into(_EVALUATORS, word, entry=evaluator)


def evaluates_together(word: type[Word]) -> Callable[[Together], Together]:
    """Register the function that evaluates all operations of a pass."""
    return into(_TOGETHER, word)


def evaluator_of(word: type[Word]) -> Evaluator | None:
    """What evaluates single operations of a word; None if they are evaluated together.

    Raises:
        RunFailure: if nothing does, as for a word of a package that forgot it.
    """
    import_all("causaldsl.engine.words")
    if word not in _EVALUATORS and word not in _TOGETHER:
        help = f"register one with @evaluates({word.__name__}) in the module that ENGINE names"
        raise RunFailure(f"no function evaluates the word `{word.word}`", help)
    return _EVALUATORS.get(word)


def together(word: type[Word]) -> Together:
    """What evaluates operations of a word that share a pass."""
    return _TOGETHER[word]


def load_engines(modules: Iterable[str]) -> None:
    """Import the evaluators of packages from outside.

    Raises:
        RunFailure: for one that can't be imported, with its name.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # a module of somebody else's may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            message = f"`{module}`, which evaluates words of this program, can't be imported"
            raise RunFailure(f"{message}: {reason}", "mend or reinstall its package") from error
