"""One condition of the audit's rule, whether it is met, and what is said if it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from causaldsl.engine.bootstrap import Estimate

_SHARES = {1 / 4: "a quarter", 1 / 3: "a third", 1 / 2: "half"}
_SHARES |= {2 / 3: "two thirds", 3 / 4: "three quarters", 4 / 3: "4/3"}
_PLACES = range(2, 7)


@dataclass(frozen=True)
class Lacks:
    """What is said of a condition that is not met: where its verb and `more than ...` stand.

    ``verbs`` are for a number that lies on the other side, and for one that may lie there.
    """

    text: str
    verbs: tuple[str, str]


@dataclass(frozen=True)
class Finding:
    """That a number must lie below or above a bound. ``name`` is the evidence that it is of."""

    name: str
    value: Estimate | float
    below: bool
    bound: float
    lacks: Lacks
    words: str = ""
    """Empty where another finding's words say it too, or where it only guards against a kind."""
    speaks: bool = False
    """That it is met speaks for its side, though others be not."""
    clearly: bool = False
    """It is met unless the whole interval lies on the other side."""

    @property
    def ends(self) -> tuple[float, float]:
        value = self.value
        return (value, value) if isinstance(value, float) else (value.low, value.high)

    @property
    def holds(self) -> bool:
        if self.clearly:
            return not self._is_other
        low, high = self.ends
        return high < self.bound if self.below else low > self.bound

    @property
    def lacking(self) -> str:
        """Why it is not met: `the whole component may have more than 4/3 ...: 1.16, up to 1.34`."""
        low, high = self.ends
        is_other = self._is_other or (low == high)
        # The end that decides: all on the other side up to it, or on the other side as far as it.
        shown = low if self.below == is_other else high
        more, other = ("more", "less") if self.below else ("less", "more")
        than = f"{more} than" if shown != self.bound else f"no {other} than"
        verb = self.lacks.verbs[0 if is_other else 1]
        said = self.lacks.text.format(than=f"{than} {share(self.bound)}", **{"is": verb})
        if low == high:
            return f"{said}: {_digits(low, self.bound)}"
        mean = low if isinstance(self.value, float) else self.value.mean
        way = "down to" if shown == low else "up to"
        return f"{said}: {_digits(mean, self.bound)}, {way} {_digits(shown, self.bound)}"

    @property
    def _is_other(self) -> bool:
        """Whether all of the interval lies on the other side."""
        low, high = self.ends
        return low > self.bound if self.below else high < self.bound


def share(of: float) -> str:
    """A share in words, as 1/3 is "a third"; in digits where there are none."""
    return next((words for value, words in _SHARES.items() if math.isclose(value, of)), f"{of:g}")


def number(value: Estimate, bound: float) -> str:
    """`0.57 (0.53 to 0.62)`, no number on another side of the bound than it is."""
    mean, low, high = (_digits(v, bound) for v in (value.mean, value.low, value.high))
    return mean if value.low == value.high else f"{mean} ({low} to {high})"


def _digits(value: float, bound: float) -> str:
    """Two decimals, and more where these would lie on the bound's other side, or on it."""
    texts = [f"{value:.{places}f}" for places in _PLACES]
    side = _side(value, bound)
    said = next((text for text in texts if _side(float(text), bound) == side), texts[-1])
    return said if said.strip("-0.") else said.removeprefix("-")


def _side(value: float, bound: float) -> int:
    return (value > bound) - (value < bound)
