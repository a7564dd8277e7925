"""Helpers of the terminal's tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.table import Table

from causaldsl.report.numbers import percent


def show(out: Console, part: RenderableType) -> None:
    """Print a part and an empty line. A table's title keeps its line, however narrow the table."""
    if isinstance(part, Table) and part.title is not None:
        out.print(part.title, style="table.title", soft_wrap=True, highlight=False)
        part.title = None
    out.print(part)
    out.print()


def titled(
    title: str, left: Iterable[str], right: Iterable[str] = (), rows: Iterable[Iterable[str]] = ()
) -> Table:
    """A table: columns on the left for text, then those on the right for numbers."""
    table = Table(title=title, title_justify="left")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def hyphened(share: float) -> str:
    """A share in per cent, with a hyphen for a minus sign."""
    return percent(share).replace("−", "-")
