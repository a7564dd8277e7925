"""What an SVG by Graphviz shows, as boxes and lines in points."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from xml.etree import ElementTree

from causaldsl.report.pathways.layout import Box, text_width

SVG = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


@dataclass
class Shown:
    """Nodes by id; of each edge its label's box, where it has one, and points along its line."""

    nodes: dict[str, Box] = field(default_factory=dict)
    ellipses: set[str] = field(default_factory=set)
    words: dict[str, list[Box]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, Box] = field(default_factory=dict)
    lines: dict[str, list[Point]] = field(default_factory=dict)


def read_svg(text: str) -> Shown:
    shown = Shown()
    for group in ElementTree.fromstring(text).iter(f"{SVG}g"):
        name = group.findtext(f"{SVG}title") or ""
        words = [_text_box(element) for element in group.iter(f"{SVG}text")]
        if group.get("class") == "node":
            shown.texts[name] = [element.text or "" for element in group.iter(f"{SVG}text")]
            shown.words[name] = words
            _shape(shown, name, group)
        elif group.get("class") == "edge":
            paths = [path.get("d") or "" for path in group.iter(f"{SVG}path")]
            shown.lines[name] = [point for path in paths for point in _points(path)]
            if words:
                shown.labels[name] = _around(words)
    return shown


def _shape(shown: Shown, name: str, group: ElementTree.Element) -> None:
    ellipse, polygon = group.find(f"{SVG}ellipse"), group.find(f"{SVG}polygon")
    if ellipse is not None:
        cx, cy, rx, ry = (float(ellipse.get(key) or 0) for key in ("cx", "cy", "rx", "ry"))
        shown.nodes[name] = Box(cx, cy, 2 * rx, 2 * ry)
        shown.ellipses.add(name)
    elif polygon is not None:
        corners = [tuple(map(float, c.split(","))) for c in (polygon.get("points") or "").split()]
        xs, ys = [c[0] for c in corners], [c[1] for c in corners]
        shown.nodes[name] = _between(min(xs), max(xs), min(ys), max(ys))
    elif shown.words[name]:
        shown.nodes[name] = _around(shown.words[name])


def _text_box(element: ElementTree.Element) -> Box:
    wide = text_width(element.text or "", bold=element.get("font-weight") == "bold")
    size = float(element.get("font-size") or 0)
    x, base = float(element.get("x") or 0), float(element.get("y") or 0)
    x += wide / 2 if element.get("text-anchor") == "start" else 0.0
    return Box(x, base - 0.35 * size, wide, 0.75 * size)


def _points(path: str) -> list[Point]:
    """Points along each Bezier curve of an SVG path."""
    numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", path)]
    control = list(zip(numbers[::2], numbers[1::2], strict=True))
    points = []
    for start in range(0, len(control) - 1, 3):
        a, b, c, d = control[start : start + 4]
        for step in range(9):
            t = step / 8
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            points.append(
                tuple(
                    sum(w * p[axis] for w, p in zip(weights, (a, b, c, d), strict=True))
                    for axis in (0, 1)
                )
            )
    assert all(abs(p[0] - q[0]) < 100 for p, q in pairwise(points))
    return points


def _around(boxes: list[Box]) -> Box:
    return _between(
        min(b.left for b in boxes),
        max(b.right for b in boxes),
        min(b.top for b in boxes),
        max(b.bottom for b in boxes),
    )


def _between(left: float, right: float, top: float, bottom: float) -> Box:
    return Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
