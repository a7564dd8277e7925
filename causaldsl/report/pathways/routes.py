"""The ways of a pathway diagram's edges round its nodes, and the places of their labels.

An edge runs over a grid of square cells. Its way is the cheapest of all, found column by column, or
row by row for a steep one: length costs, a cell beside another edge costs, and a node or a label
costs more than any way round it. Costs are integers, so that the same record gives the
same picture on every machine. The strongest edges go first and so run straightest; each puts its
label on its line, where the later ones go round it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causaldsl.report.pathways.layout import Box

CELL = 4.0
_STEEPEST = 9
_NODE, _LABEL, _NEAR, _LENGTH = 4000, 3000, 30, 10
_BACK, _TIGHT = 60, 60
_HIDDEN = 300
"""What it costs a label to hide a line."""
_CLEAR = 5.0
"""Points between a node and an edge that passes it."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Wish:
    """An edge to lay: its ends, and the sides of its label (none: no label)."""

    sender: str
    receiver: str
    label: tuple[float, float]
    pen: float
    needed: bool
    """Whether its label must be there; another's is left out where there is no room."""


@dataclass(frozen=True)
class Route:
    """The line of an edge as points from sender to receiver, and its label's box."""

    points: list[Point]
    label: Box | None
    beside: bool = False
    """Whether the label found no room on its line."""


class Router:
    """Lays edges one after another over nodes that stand."""

    def __init__(
        self, boxes: dict[str, Box], rounded: set[str], bars: set[str], frame: Box, edges: int
    ) -> None:
        """``rounded`` nodes are ellipses; ``bars`` are left and reached anywhere along their side.

        Edges and labels stay in ``frame``; there will be at most ``edges``.
        """
        self.boxes, self.rounded, self.bars, self.frame = boxes, rounded, bars, frame
        self.columns, self.rows = int(frame.right / CELL) + 2, int(frame.bottom / CELL) + 2
        self.labels: list[Box] = []
        self._laid = 0
        self._lines = np.zeros((edges, self.columns, self.rows), bool)
        self._cost: NDArray[np.int64] = np.zeros((self.columns, self.rows), np.int64)
        self._blocked: NDArray[np.int64] = np.zeros_like(self._cost)
        for box in boxes.values():
            self._blocked[self._cells(box, _CLEAR)] += _NODE

    def lay(self, wish: Wish) -> Route:
        """The way of one edge and its label's place; both are in the way of those to come."""
        points = self._clip(_smooth(self._way(wish)), wish)
        label, beside = self._label(points, wish)
        for x, y in points:
            self._cost[self._cells(Box(x, y, 0, 0), 3 + wish.pen / 2 + CELL)] += _NEAR
            self._lines[self._laid][self._cells(Box(x, y, CELL, 0), wish.pen / 2)] = True
        self._laid += 1
        if label is not None:
            self.labels.append(label)
            self._cost[self._cells(label, 4.0)] += _LABEL
        return Route(points, label, beside)

    def _cells(self, box: Box, gap: float) -> tuple[slice, slice]:
        """The part of a grid that a box covers."""
        left, right = int((box.left - gap) / CELL + 0.5), int((box.right + gap) / CELL + 0.5)
        top, bottom = int((box.top - gap) / CELL + 0.5), int((box.bottom + gap) / CELL + 0.5)
        return slice(max(left, 0), max(right + 1, 0)), slice(max(top, 0), max(bottom + 1, 0))

    def _way(self, wish: Wish) -> list[Point]:
        """The cheaper of a way that never turns back in x and one that never does in y."""
        sender, receiver = self.boxes[wish.sender], self.boxes[wish.receiver]
        cost = self._cost + self._blocked
        for box in (sender, receiver):
            cost[self._cells(box, _CLEAR)] -= _NODE
        cost[:, : int(self.frame.top / CELL) + 1] += _NODE
        cost[:, -1] += _NODE
        if wish.needed:
            cost += self._room_for(wish.label[1])
        first = self._column(sender, wish.sender, right=True)
        last = max(self._column(receiver, wish.receiver, right=False), first + 1)
        ports = self._ports(sender, wish.sender), self._ports(receiver, wish.receiver)
        paid, across = _cheapest(cost[first : last + 1], *ports)
        way = [((first + i) * CELL, row * CELL) for i, row in enumerate(across)]
        if wish.sender in self.bars:
            way[0] = (sender.right, way[0][1])
        if wish.receiver in self.bars:
            way[-1] = (receiver.left, way[-1][1])
        if wish.sender in self.bars or wish.receiver in self.bars:
            return way
        top, bottom = _cell(min(sender.y, receiver.y)), _cell(max(sender.y, receiver.y))
        if bottom == top:
            return way
        upper, lower = (sender, receiver) if sender.y <= receiver.y else (receiver, sender)
        ports = self._start_at(_cell(upper.x)), self._start_at(_cell(lower.x))
        # Detours against the reading direction cost more.
        cost[: _cell(sender.left)] += _BACK
        cost[_cell(receiver.right) + 1 :] += _BACK
        less, down = _cheapest(cost.T[top : bottom + 1], *ports)
        if less >= paid:
            return way
        way = [(column * CELL, (top + i) * CELL) for i, column in enumerate(down)]
        return way if upper is sender else way[::-1]

    def _room_for(self, tall: float) -> NDArray[np.int64]:
        """Where a line would leave no room for a label as tall as this."""
        cost = np.zeros_like(self._cost)
        for box in [*self.boxes.values(), *self.labels]:
            cost[self._cells(box, tall / 2 + 4)] = _TIGHT
        rows = int(tall / 2 / CELL) + 1
        cost[:, : int(self.frame.top / CELL) + rows] = _TIGHT
        cost[:, -rows:] = _TIGHT
        return cost

    def _column(self, box: Box, name: str, right: bool) -> int:
        """A bar is left and reached at its side, a node is left and reached at its middle."""
        return _cell((box.right if right else box.left) if name in self.bars else box.x)

    def _ports(self, box: Box, name: str) -> NDArray[np.int64]:
        """What it costs to start or end at each row: nothing at a node's middle or along a bar."""
        cost = np.full(self.rows, np.int64(1 << 30))
        if name in self.bars:
            cost[int(box.top / CELL) + 3 : int(box.bottom / CELL) - 1] = 0
        else:
            cost[_cell(box.y)] = 0
        return cost

    def _start_at(self, column: int) -> NDArray[np.int64]:
        cost = np.full(self.columns, np.int64(1 << 30))
        cost[column] = 0
        return cost

    def _clip(self, points: list[Point], wish: Wish) -> list[Point]:
        """The part of the line that is outside both of its nodes."""
        outside = [
            i
            for i, point in enumerate(points)
            if not self._inside(point, wish.sender) and not self._inside(point, wish.receiver)
        ]
        if len(outside) < 2:
            return points
        first, last = outside[0], outside[-1]
        start = points[first]
        end = points[last]
        if first > 0:
            start = self._border(points[first], points[first - 1], wish.sender)
        if last + 1 < len(points):
            end = self._border(points[last], points[last + 1], wish.receiver)
        return [start, *points[first : last + 1], end]

    def _inside(self, point: Point, name: str) -> bool:
        box = self.boxes[name]
        u, v = abs(point[0] - box.x) / (box.width / 2), abs(point[1] - box.y) / (box.height / 2)
        return u * u + v * v < 1 if name in self.rounded else max(u, v) < 1

    def _border(self, out: Point, inner: Point, name: str) -> Point:
        """Where the line from outside to inside goes through the node's border, by halving."""
        for _ in range(12):
            middle = ((out[0] + inner[0]) / 2, (out[1] + inner[1]) / 2)
            if self._inside(middle, name):
                inner = middle
            else:
                out = middle
        return out

    def _label(self, points: list[Point], wish: Wish) -> tuple[Box | None, bool]:
        """The best free place on the line or touching it; a needed label may also go beside it."""
        wide, tall = wish.label
        best: tuple[int, Box, bool] | None = None
        total = len(points)
        reach = 9 if wish.needed else 1
        for i in range(1, total - 1):
            flat = abs(points[i + 1][1] - points[i - 1][1])
            for off in range(-reach, reach + 1):
                x, y = points[i]
                box = Box(x, y + off * tall / 2, wide, tall)
                cost = abs(2 * i - total) * 20 // total + int(flat) + 25 * off * off
                if (best is not None and cost >= best[0]) or not self._free(box):
                    continue
                cost += _HIDDEN * self._crossed(box)
                if best is None or cost < best[0]:
                    best = (cost, box, abs(off) > 1)
        if best is None or (best[0] >= 2 * _HIDDEN and not wish.needed):
            return None, True
        return best[1], best[2]

    def _free(self, box: Box) -> bool:
        """Whether a label there touches no node and no other label."""
        frame = self.frame
        if box.left < frame.left or box.right > frame.right:
            return False
        if box.top < frame.top or box.bottom > frame.bottom:
            return False
        return not any(box.meets(other, 3.0) for other in self.boxes.values()) and not any(
            box.meets(other, 2.0) for other in self.labels
        )

    def _crossed(self, box: Box) -> int:
        """How many of the lines laid so far a label there would hide."""
        columns, rows = self._cells(box, 0.0)
        return int(self._lines[:, columns, rows].any(axis=(1, 2)).sum())


def _cell(length: float) -> int:
    return int(length / CELL + 0.5)


def _cheapest(
    cost: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[int, list[int]]:
    """The cheapest way through all lines of a grid, one cell in each.

    Args:
        cost: (lines, cells).
        start: what it costs to begin at each cell of the first line; ``end`` of the last.

    Returns:
        Its cost, and its cell in each line. A step over many cells pays for those that it passes.
    """
    lines, cells = cost.shape
    widest = max(_STEEPEST, abs(int(start.argmin()) - int(end.argmin())) // max(lines - 1, 1) + 3)
    steps = np.arange(-widest, widest + 1)[:, None]
    to = np.arange(cells)[None, :]
    origin = to - steps
    outside = (origin < 0) | (origin >= cells)
    origin = origin.clip(0, cells - 1)
    low, high = np.minimum(to, origin), np.maximum(to, origin) + 1
    length = np.rint(_LENGTH * np.hypot(1, steps)).astype(np.int64) + outside * (1 << 40)
    best = cost[0] + start
    came = []
    for line in cost[1:]:
        passed = np.concatenate([[0], line.cumsum()])
        options = best[origin] + length + passed[high] - passed[low]
        choice = options.argmin(axis=0)
        best = options.min(axis=0)
        came.append(steps[choice, 0])
    best = best + end
    cell = int(best.argmin())
    way = [cell]
    for chosen in reversed(came):
        cell -= int(chosen[cell])
        way.append(cell)
    return int(best.min()), way[::-1]


def _smooth(points: list[Point]) -> list[Point]:
    """Evenly spaced points along the way, with its corners rounded and its ends kept."""
    points = _even(points, CELL)
    for _ in range(2):
        padded = [points[0]] * 3 + points + [points[-1]] * 3
        points = [
            points[0],
            *(
                (
                    sum(p[0] for p in padded[i : i + 7]) / 7,
                    sum(p[1] for p in padded[i : i + 7]) / 7,
                )
                for i in range(1, len(points) - 1)
            ),
            points[-1],
        ]
    return points


def _even(points: list[Point], apart: float) -> list[Point]:
    """Points on the same line, none more than ``apart`` from the next."""
    out = [points[0]]
    for a, b in itertools.pairwise(points):
        parts = max(1, math.ceil(math.dist(a, b) / apart))
        for k in range(1, parts + 1):
            out.append((a[0] + (b[0] - a[0]) * k / parts, a[1] + (b[1] - a[1]) * k / parts))
    return out


def bezier(points: list[Point]) -> list[Point]:
    """Control points of a smooth curve through the line: 3 n + 1 of them, as DOT wants."""
    kept = _thinned(points)
    out = [kept[0]]
    slopes = [
        ((c[0] - a[0]) / 6, (c[1] - a[1]) / 6)
        for a, c in zip([kept[0], *kept], [*kept[1:], kept[-1]], strict=False)
    ]
    for (p, m), (q, n) in itertools.pairwise(zip(kept, slopes, strict=True)):
        out += [(p[0] + m[0], p[1] + m[1]), (q[0] - n[0], q[1] - n[1]), q]
    return out


def _thinned(points: list[Point]) -> list[Point]:
    """Only as many points as a smooth curve needs: denser where the line bends."""
    kept = [points[0]]
    last = 0
    for i in range(1, len(points) - 1):
        before, here, after = points[last], points[i], points[i + 1]
        turn = abs(_angle(before, here) - _angle(here, after))
        if i - last >= 3 and (turn > 0.15 or i - last >= 12) and i < len(points) - 3:
            kept.append(here)
            last = i
    return [*kept, points[-1]]


def _angle(a: Point, b: Point) -> float:
    return math.atan2(b[1] - a[1], b[0] - a[0])
