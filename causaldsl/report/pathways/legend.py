"""Legend and caption of a pathway diagram."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from causaldsl.report.dormant import MEANINGS
from causaldsl.report.numbers import counted, percent, plain, with_interval
from causaldsl.report.pathways.layout import LINE, Box, text_width
from causaldsl.results.routes import TraceRecord

_SYMBOL, _SPACE, _BETWEEN = 26.0, 5.0, 14.0
Mark = Literal["head", "mlp", "for", "against", "dormant", "width"]


@dataclass(frozen=True)
class Entry:
    """A symbol of the legend with its words, both placed."""

    mark: Mark
    text: str
    symbol: Box
    words: Box


def legend(record: TraceRecord, top: float, width: float) -> tuple[list[Entry], float]:
    """What the marks in this picture mean, in rows no wider than ``width``; and where they end."""
    entries: list[Entry] = []
    x, y = 0.0, top + LINE / 2
    for mark, text in _meanings(record):
        wide = text_width(text)
        if x and x + _SYMBOL + _SPACE + wide > width:
            x, y = 0.0, y + LINE * 1.35
        symbol = Box(x + _SYMBOL / 2, y, _SYMBOL, LINE)
        words = Box(x + _SYMBOL + _SPACE + wide / 2, y, wide, LINE)
        entries.append(Entry(mark, text, symbol, words))
        x += _SYMBOL + _SPACE + wide + _BETWEEN
    return entries, y + LINE / 2


def _meanings(record: TraceRecord) -> Iterable[tuple[Mark, str]]:
    shown = [edge for edge in record.edges if edge.shown]
    kinds = {node.kind for node in record.nodes}
    if "head" in kinds:
        yield "head", "head (layer.head)"
    if "mlp" in kinds:
        yield "mlp", "MLP (layer)"
    if any(edge.share >= 0 for edge in shown):
        yield "for", "with the total effect"
    if any(edge.share < 0 for edge in shown):
        yield "against", "against it"
    if asleep := {edge.asleep for edge in shown if edge.dormant}:
        means = ", or ".join(said for kind, said in MEANINGS.items() if kind in asleep)
        yield "dormant", f"dormant: {means} (natural share)"
    if shown:
        strongest = max(abs(edge.share) for edge in shown)
        yield "width", f"line width: size of the effect, here up to {percent(strongest)}"


def caption(record: TraceRecord, name: str, model: str, width: float) -> list[str]:
    """Lines of the caption; the first is its title."""
    shown = [edge for edge in record.edges if edge.shown]
    dormant = sum(edge.dormant for edge in shown) or "none"
    clean, total = (
        with_interval(n, partial(plain, places=2)) for n in (record.clean, record.total)
    )
    explained = with_interval(record.explained, percent)
    said = [
        f"{record.does}, on {model}; {record.metric} on {record.pairs}, "
        f"{counted(record.n, record.n_pairs)}",
        f"clean {clean}, total effect {total}; "
        f"the {len(shown)} edges shown ({dormant} dormant) carry {explained} of it",
        "in a node: share of the effect that goes when it is held at clean; "
        "on an edge: share that its path alone carries",
        f"{_positions(record)}paths: {record.policy}; 95% bootstrap intervals",
    ]
    return [f"Trace {name}", *(line for text in said for line in _wrapped(text, width))]


def _wrapped(text: str, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _positions(record: TraceRecord) -> str:
    many = len(record.positions) > 1
    return f"position{'s' if many else ''} {', '.join(record.positions)}; "
