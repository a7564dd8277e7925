"""Functions of other packages on numbers, applied draw by draw.

A package's function takes plain floats. It is called once with the numbers themselves, and where a
claim asks for draws, once with the values of each draw. Where the lower and the upper values of an
operand differ, as a rate's do, it is called with the lower, the middle and the upper values of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch

from causaldsl.engine.bootstrap import Over, Spread
from causaldsl.engine.drawn import Drawn, Draws, widest, withheld
from causaldsl.engine.here import Here
from causaldsl.engine.registry import Evaluator
from causaldsl.engine.words.numbers import Verdict, few
from causaldsl.vocabulary.register import package_of

Side = Literal["low", "middle", "high"]


def lifted(here: Here[Any], evaluator: Evaluator, value: Any) -> Any:
    """The value of an operation with the draws of the numbers that it was worked out from."""
    if not package_of(type(here.word)) or here.word.runs != "nothing" or isinstance(value, Drawn):
        return value
    if not isinstance(value, float | int | Verdict):
        return value
    given = {role: evaluator.given(here, role) for role in evaluator.inputs}
    numbers = [one for of in given.values() for one in (of if isinstance(of, list) else [of])]
    drawn = [one for one in numbers if isinstance(one, Drawn)]
    if not drawn:
        return value

    def again(over: Over, side: Side = "middle") -> Iterator[Any]:
        """What the function gives in every draw."""
        middle = {id(one): _values(one, over, side) for one in drawn if one.make is not None}
        for r in range(len(next(iter(middle.values())))):

            def at(one: Any, r: int = r) -> Any:
                return middle[id(one)][r] if id(one) in middle else one

            values = {
                role: [at(one) for one in of] if isinstance(of, list) else at(of)
                for role, of in given.items()
            }
            yield evaluator.call(here, values)

    if isinstance(value, Verdict):
        return _verdict(value, drawn, again)
    if reason := withheld(drawn):
        return Drawn(float("nan"), withheld=reason)

    def make(over: Over) -> Draws:
        each = [one.draws(over) for one in drawn]
        apart = not all(torch.equal(one.low, one.high) for one in each)
        sides: tuple[Side, ...] = ("low", "middle", "high") if apart else ("middle",)
        found = torch.tensor([list(again(over, side)) for side in sides], dtype=torch.float64)
        low = found.amin(0)
        spread = Spread.widest(one.spread for one in each)
        return Draws(low, found.amax(0) if apart else low, spread, widest(each))

    return Drawn(float(value), make, frozenset().union(*(one.pairs for one in drawn)))


def _values(one: Drawn, over: Over, side: Side) -> list[float]:
    """Its lower or upper values in draws, or those between both."""
    draws = one.draws(over)
    both = {"low": draws.low, "high": draws.high, "middle": (draws.low + draws.high) / 2}
    values: list[float] = both[side].tolist()
    return values


def _verdict(value: Verdict, drawn: list[Drawn], again: Callable[[Over], Iterator[Any]]) -> Verdict:
    """Held or fallen if it is so in all draws but the tails of an interval."""
    if reason := withheld(drawn):
        return replace(value, held=None, why=reason)
    spread = Spread.widest(one.draws().spread for one in drawn)
    held = [bool(verdict.held) for verdict in again("pairs")]
    share, tail = sum(held) / len(held), spread.tail()
    if spread.free < 1:
        return replace(value, held=None, n=spread.n, why=few(spread, "pairs"))
    decided = True if 1 - share <= tail else False if share <= tail else None
    return replace(value, held=decided, n=spread.n)
