"""Numbers as a reader sees them, in words. One that is withheld is nan."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from causaldsl.results.numbers import Number
from causaldsl.vocabulary.metrics import metric_named

_MOST_PLACES = 6
"""Numbers that need more decimals are written with an exponent."""
WITHHELD = "withheld"
MARKS = {"held": "held", "fell": "FELL", "undecided": "undecided"}
"""Verdicts on claims as pictures and the terminal write them."""


def decimals(values: Iterable[float]) -> int:
    """How many decimals tell numbers of this size apart: two, and more where all are small."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest >= 100:
        return 1
    return 2 if largest >= 0.1 or largest < 5e-5 else 3 if largest >= 0.01 else 4


def plain(value: float, places: int | None = None) -> str:
    """A number with a real minus sign; a zero has no sign.

    >>> plain(-0.1011, 2), plain(-1e-9, 2), plain(0.3)
    ('−0.10', '0.00', '0.3')
    """
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.4g}" if places is None else f"{value:.{places}f}"
    if places is None and abs(value) < 1e-6:
        text = "0"
    if text.startswith("-") and not text.strip("-0."):
        text = text[1:]
    return text.replace("-", "−")


def counted(n: int, n_pairs: int) -> str:
    """How many units there are, and pairs if these are more: `n = 40`, `n = 38, 40 pairs`."""
    return f"n = {n}" if n == n_pairs else f"n = {n}, {n_pairs} pairs"


def percent(share: float) -> str:
    """A share in per cent: `41%`, `−7%`, and `0%` without a sign."""
    return f"{plain(100 * share, 0)}%"


def places_of(numbers: Sequence[Number]) -> int:
    """Decimals for a column of numbers, so that they stand below one another."""
    return decimals(v for n in numbers for v in (n.mean, n.low, n.high))


def tint(share: float) -> str:
    """A fill for a share from -1 to 1: white at 0, orange above it, blue below."""
    full = (253, 174, 97) if share > 0 else (146, 197, 222)
    return "#" + "".join(f"{round(255 + (c - 255) * abs(share)):02x}" for c in full)


def two_decimals(value: float) -> str:
    """A number for tables and pictures, with a hyphen for a minus sign; a zero has no sign."""
    return plain(value, 2).replace("−", "-")


def with_interval(number: Number, form: Callable[[float], str] | None = None) -> str:
    """A mean with its interval: `0.57 [0.53, 0.62]`; ``form`` writes each of the three."""
    if math.isnan(number.mean):
        return WITHHELD
    if number.n == 1:
        return form(number.mean) if form else f"{number.mean:.4g}"
    mean, low, high = map(form or two_decimals, (number.mean, number.low, number.high))
    return f"{mean} [{low}, {high}]"


def fine(value: float, places: int) -> int:
    """As many decimals, or more where such a small number would read as zero: two that matter."""
    return _two_digits(value) if 0 < abs(value) < 0.5 * 10.0**-places else places


def _two_digits(value: float) -> int:
    """The decimals that show two digits that matter; ``value`` is not 0."""
    return 1 - math.floor(math.log10(abs(value)))


def measured(number: Number, metric: str, marked: bool = False) -> str:
    """A metric's value with its interval; a small probability with two digits that matter, and so
    what is ``marked`` as different from clean and would read as zero."""
    small = metric_named(metric).unit == "probability" and 0 < abs(number.mean) < 0.095
    if not (small or (marked and fine(number.mean, 2) > 2)):
        return with_interval(number)
    places = _two_digits(number.mean)
    if places > _MOST_PLACES:
        return with_interval(number, lambda value: f"{value:.1e}")
    return with_interval(number, lambda value: plain(value, places).replace("−", "-"))


def change(arms: Mapping[str, Mapping[str, Number]], arm: str, metric: str) -> float:
    """How far a metric of an arm lies from that of the clean run; 0 where it is withheld."""
    found = arms[arm][metric].mean - arms["clean"][metric].mean
    return 0.0 if math.isnan(found) else found


def furthest(arms: Mapping[str, Mapping[str, Number]], metric: str) -> list[str]:
    """The cells of a sweep, the one with the largest change from the clean run first."""
    cells = [cell for cell in arms if cell != "clean"]
    return sorted(cells, key=lambda cell: -abs(change(arms, cell, metric)))
