"""Helpers of the terminal's tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from causaldsl.results.records import Number, two_decimals


def show(out: Console, part: RenderableType) -> None:
    """Print a part and an empty line. A table's title keeps its line, however narrow the table."""
    if isinstance(part, Table) and part.title is not None:
        out.print(part.title, style="table.title", soft_wrap=True, highlight=False)
        part.title = None
    out.print(part)
    out.print()


def titled(title: str, left: Iterable[str], right: Iterable[str] = ()) -> Table:
    """An empty table: columns on the left for text, on the right for numbers."""
    table = Table(title=escape(title), title_justify="left")
    for name in left:
        table.add_column(escape(name))
    for name in right:
        table.add_column(escape(name), justify="right")
    return table


def with_interval(number: Number) -> str:
    """A mean with its interval: `0.57 [0.53, 0.62]`."""
    if number.n == 1:
        return f"{number.mean:.4g}"
    mean, low, high = map(two_decimals, (number.mean, number.low, number.high))
    return f"{mean} \\[{low}, {high}]"


def share(number: Number) -> str:
    """A share with its interval in per cent: `57% [53%, 62%]`."""
    mean, low, high = map(percent, (number.mean, number.low, number.high))
    return mean if number.n == 1 else f"{mean} \\[{low}, {high}]"


def percent(value: float) -> str:
    """A share in per cent; a zero has no sign."""
    text = f"{value:.0%}"
    return "0%" if text == "-0%" else text
