"""How an evaluator is called: with its operation if it wants it, and with operands by name."""

from __future__ import annotations

from typing import Any

import pytest

from causaldsl.engine.registry import Evaluator, evaluates, evaluator_of
from causaldsl.vocabulary.base import Operand, Pure
from causaldsl.vocabulary.types import NumberType


class Several(Pure):
    """A word with operands of one value, of several, and one that may be left out."""

    word = "several"
    gives = NumberType()
    operands = (
        Operand("of", "numbers"),
        Operand("by", "number", keyword=True),
        Operand("less", "number", keyword=True, required=False),
    )


class Given:
    """What stands for an operation, with its inputs by role."""

    def __init__(self, **inputs: list[float]):
        self.inputs = inputs

    def values(self, role: str) -> list[float]:
        return self.inputs.get(role, [])

    def value(self, role: str) -> float | None:
        return next(iter(self.values(role)), None)


def test_operands_are_given_as_their_kinds_say() -> None:
    @evaluates(Several)
    def several(here: Any, less: Any, of: Any, by: Any) -> Any:
        return here, of, by, less

    found = evaluator_of(Several)
    assert isinstance(found, Evaluator)
    given = Given(of=[1.0, 2.0], by=[3.0])
    assert found(given) == (given, [1.0, 2.0], 3.0, None)
    assert found(Given(by=[3.0], less=[4.0]))[1:] == ([], 3.0, 4.0)
    with pytest.raises(ValueError, match="Several is registered twice"):
        evaluates(Several)(lambda by: by)


def test_a_name_that_is_no_operand_is_refused() -> None:
    for function in (lambda of, unto: of, lambda here, unto: unto, lambda of, here: of):
        with pytest.raises(TypeError, match=r"several has no operand (unto|here)"):
            evaluates(Several)(function)
