"""What all pictures by matplotlib share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from causaldsl.shown import visible

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which almost everybody can tell apart."""
_DASHES = ("-", "--", ":", "-.")


def look(number: int) -> tuple[str, str]:
    """Colour and dashes of a line: told apart in black and white too, 28 pairs of both.

    >>> look(0), look(7)
    (('#0072b2', '-'), ('#0072b2', '-.'))
    """
    return _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]


def axis_name(variable: str, quantities: Mapping[str, str]) -> str:
    """A loop variable as an axis is named by it, with what its values are, if that is known.

    >>> axis_name("l", {"l": "layer"}), axis_name("layer", {"layer": "layer"}), axis_name("k", {})
    ('layer l', 'layer', 'k')
    """
    quantity = quantities.get(variable, "")
    return variable if quantity in ("", variable) else f"{quantity} {variable}"


def colours(values: Iterable[float]) -> dict[str, Any]:
    """The colour scale of some numbers: from 0 on where all have one sign, else two around 0.

    >>> colours([0.1, 0.4])
    {'cmap': 'viridis', 'vmin': 0.0, 'vmax': 0.4}
    >>> colours([-2.0, -0.5, float("nan")])
    {'cmap': 'viridis_r', 'vmin': -2.0, 'vmax': 0.0}
    """
    finite = [value for value in values if isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if low < 0 < high:
        most = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    if low < 0:
        return {"cmap": "viridis_r", "vmin": low, "vmax": 0.0}
    return {"cmap": "viridis", "vmin": 0.0, "vmax": max(high, 1e-9)}


_MOST_CHARACTERS = 60
"""Of all labels along x together: more are turned, so that they don't overlap."""


def label_x(axis: Any, places: Sequence[float], labels: Sequence[str], most: int) -> None:
    """Labels along x, at most ``most`` of them."""
    step = -(-len(labels) // most)
    rotation = 90 if turned(labels[::step]) else 0
    axis.set_xticks(places[::step], labels[::step], fontsize=7, rotation=rotation)


def turned(labels: Sequence[str]) -> float:
    """The height (inches) that labels along x take more because they are turned; 0 if not."""
    return 0.06 * max(map(len, labels)) if sum(map(len, labels)) > _MOST_CHARACTERS else 0.0


def subplots(size: tuple[float, float], rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure of this size (inches) and its axes below one another (an array of ``rows``).

    It is made without pyplot, which would choose how the whole process shows figures.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False, **options)[:, 0]


class Area(NamedTuple):
    """A part of an axis, ``left`` to ``right`` and ``low`` to ``high`` in its own units, and what
    it says when it is pointed at."""

    axis: Any
    left: float
    right: float
    low: float
    high: float
    says: str


_MOST_AREAS = 3000
"""More of them make a page slow."""


def save(figure: Any, path: Path, areas: Sequence[Area] = ()) -> None:
    """Write a figure, without the date: the same numbers give the same file.

    In an SVG its ``areas`` have titles, which a browser shows where one points.
    """
    import matplotlib
    from matplotlib.text import Text

    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    for text in figure.findobj(Text):  # a token or a class may have dollar signs
        text.set_parse_math(False)
        text.set_text(visible(text.get_text()))
    plain: Any = {"svg.hashsalt": "causaldsl", "svg.fonttype": "none", "text.parse_math": False}
    with matplotlib.rc_context(plain):
        figure.savefig(path, dpi=150, metadata=undated.get(path.suffix, {}))
    if path.suffix == ".svg" and 0 < len(areas) <= _MOST_AREAS:
        drawn = path.read_text(encoding="utf-8")
        layer = f'<g class="areas">\n{"".join(_titled(figure, area) for area in areas)}</g>\n'
        before, end, after = drawn.rpartition("</svg>")
        path.write_text(f"{before}{layer}{end}{after}", encoding="utf-8")


def _titled(figure: Any, area: Area) -> str:
    """An area as a rectangle with a title, in the points of an SVG, which count from the top."""
    corners = [(area.left, area.low), (area.right, area.high)]
    (x, y), (x2, y2) = area.axis.transData.transform(corners) * (72 / figure.dpi)
    top = figure.get_figheight() * 72 - max(y, y2)
    return (
        f'<rect class="said" x="{min(x, x2):.1f}" y="{top:.1f}" width="{abs(x2 - x):.1f}" '
        f'height="{abs(y2 - y):.1f}" fill="none" pointer-events="all">'
        f"<title>{escape(visible(area.says))}</title></rect>\n"
    )
