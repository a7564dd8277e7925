"""Pieces of evidence with their intervals on one axis, from an illusion to the feature."""

from __future__ import annotations

from collections.abc import Sequence

from causaldsl.report.html.markup import Html, tag
from causaldsl.results.numbers import Number
from causaldsl.results.records import Evidence

_LEFT, _WIDTH, _ROW, _TOP = 170.0, 240.0, 20.0, 18.0
_ENDS = (-0.15, 1.15)
_ZONES = ("illusory", "unclear", "faithful")


def axis(rows: Sequence[Evidence], decided_by: Sequence[str], anchor: str) -> Html | None:
    """A row for each piece with a scale; None if there are none.

    Every piece has thresholds of its own. They are drawn in the same two places, so that a dot left
    of the first line points to an illusion whatever it measures. ``anchor`` is the picture's id.
    """
    shown = [row for row in rows if row.scale and isinstance(row.value, Number)]
    if not shown:
        return None
    height = _TOP + _ROW * len(shown) + 4
    zones = "".join(
        f'<text class="zone" text-anchor="middle" x="{_x((i + 0.5) / 3)}" y="12">{zone}</text>'
        for i, zone in enumerate(_ZONES)
    )
    lines = "".join(
        f'<line class="zero" x1="{_x(at)}" x2="{_x(at)}" y1="{_TOP:g}" y2="{height:g}"/>'
        for at in (1 / 3, 2 / 3)
    )
    pieces = "".join(
        _piece(row, _TOP + _ROW * (i + 0.5), row.name in decided_by) for i, row in enumerate(shown)
    )
    words = "; ".join(_words(row) for row in shown)
    width = _LEFT + _WIDTH
    return Html(
        f'<svg id="{anchor}" class="evidence-axis" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img">'
        f"{tag('title', words)}{zones}{lines}{pieces}</svg>"
    )


def _piece(row: Evidence, y: float, decided: bool) -> str:
    value, scale = row.value, row.scale
    assert isinstance(value, Number)
    assert scale is not None
    low, mean, high = (_x(place(v, scale)) for v in (value.low, value.mean, value.high))
    name = tag("text", row.name, x=f"{_LEFT - 8:g}", y=f"{y + 4:.1f}", text_anchor="end")
    kind = "decided" if decided else "other"
    return (
        f'{name}<line class="span" x1="{low}" x2="{high}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<circle class="{kind}" cx="{mean}" cy="{y:.1f}" r="4"/>'
    )


def _words(row: Evidence) -> str:
    value = row.value
    assert isinstance(value, Number)
    return f"{row.name} {value.mean:.2f}, {value.low:.2f} to {value.high:.2f}: {row.points_to}"


def place(value: float, scale: tuple[float, float]) -> float:
    """Where a value stands: 0 at 0, a third at the first threshold, two thirds at the second.

    >>> place(0.8, (0.4, 0.8)), place(0.2, (0.4, 0.8))
    (0.6666666666666666, 0.16666666666666666)
    """
    low, high = scale
    if value < low:
        return value / low / 3
    if value < high:
        return (1 + (value - low) / (high - low)) / 3
    return (2 + (value - high) / (1 - high)) / 3


def _x(at: float) -> str:
    first, last = _ENDS
    inside = min(max(at, first), last)
    return f"{_LEFT + 5 + (_WIDTH - 10) * (inside - first) / (last - first):.1f}"
