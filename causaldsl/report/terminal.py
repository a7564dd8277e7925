"""Numbers as the terminal's tables show them."""

from __future__ import annotations

from causaldsl.results.records import Number, two_decimals


def with_interval(number: Number) -> str:
    """A mean with its interval: `0.57 [0.53, 0.62]`."""
    if number.n == 1:
        return f"{number.mean:.4g}"
    mean, low, high = map(two_decimals, (number.mean, number.low, number.high))
    return f"{mean} \\[{low}, {high}]"
