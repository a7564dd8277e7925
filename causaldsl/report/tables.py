"""Results as tables for the terminal."""

from __future__ import annotations

from rich.console import Console

from causaldsl.report.kinds.base import kinds
from causaldsl.results.records import Results


def print_results(results: Results, out: Console) -> None:
    """Print what a run found: the records of every kind, then the claims and notes."""
    for known in sorted(kinds(), key=lambda known: known.terminal_place):
        known.terminal(results, out)
