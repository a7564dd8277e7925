"""Where the nodes of a pathway diagram stand: layers from left to right, positions in lanes.

Lengths are in points (1/72 inch), x to the right and y down. The first node is a bar at the left,
the logits are a bar at the right. Between them each layer has a column for its heads and, half a
step further, one for its MLP. Heads stand in the upper rows of their position's lane and MLPs in
the lowest, so that neighbouring columns may overlap in x: the picture stays narrow enough for a
page's column without any two nodes touching.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from causaldsl.report.numbers import percent
from causaldsl.results.routes import TraceNode, TraceRecord

SIZE = 9.0
"""Points of all text: a picture as wide as `NARROW` keeps 6 pt when it is 8.5 cm wide."""
LINE = 1.2 * SIZE
NARROW = 360.0
_GAP = 14.0
_LABEL_GAP = 34.0
"""Between nodes of one row; where an edge joins them, its label stands there."""
_STEP = {"head": 19.0, "mlp": 15.0}
"""From the column before to one of this kind, at least."""
_BAR_GAP = 34.0
_DORMANT_GAP = 98.0
"""From the intervention to the first column if a dormant edge leaves it, for its label."""
_TRACK = 26.0
"""Between two rows, for the edges."""
_WAY = 9.0
"""Height of the way of one edge, where many pass."""
_AXIS = 18.0
_LANE_GAP = 8.0
_TAG = LINE + 2
"""Above the rows of a lane, for its position."""


@dataclass(frozen=True)
class Box:
    """An upright rectangle by its centre and its sides."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2

    def meets(self, other: Box, gap: float = 0.0) -> bool:
        """Whether they overlap, or come nearer than ``gap``."""
        return (
            abs(self.x - other.x) < (self.width + other.width) / 2 + gap
            and abs(self.y - other.y) < (self.height + other.height) / 2 + gap
        )


@dataclass(frozen=True)
class Layout:
    """Boxes of the nodes by id; the lanes by position; a tick for each layer."""

    boxes: dict[str, Box]
    lanes: dict[str, Box]
    ticks: dict[int, Box]
    width: float
    height: float

    @property
    def frame(self) -> Box:
        """Where edges and their labels have to stay: below the ticks."""
        tall = self.height - _AXIS
        return Box(self.width / 2, _AXIS + tall / 2, self.width, tall)


# Adobe's widths of Helvetica, in thousandths of the size; Arial and Arimo have the same.
_WIDTHS = {
    222: "'`ijl",
    278: " !,./:;I[\\]ft|",
    334: "()-r{}",
    355: '"',
    389: "*",
    500: "Jcksvxyz^",
    556: "#$0123456789?L_abdeghnopqu",
    584: "+<=>~\N{MINUS SIGN}",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
}
_WIDTH = {character: width for width, text in _WIDTHS.items() for character in text}
_WIDEST, _BOLDER = 1015, 1.07


def text_width(text: str, bold: bool = False) -> float:
    """Width of a line in Helvetica, in points; characters that it lacks count as the widest."""
    width = sum(_WIDTH.get(c, _WIDEST) for c in text) * SIZE / 1000
    return width * (_BOLDER if bold else 1.0)


def node_lines(node: TraceNode, record: TraceRecord) -> list[str]:
    """What is written in a node: its name, its position, its mediated share."""
    if node.kind == "intervention":
        verbs = dict.fromkeys(part.split()[0] for part in record.does.split(" + "))
        return [" + ".join(verbs), *_at(node.position)]
    if node.kind == "logits":
        return ["logits", *_at(node.position)]
    name = f"{node.layer}.{node.head}" if node.kind == "head" else f"MLP {node.layer}"
    share = [] if node.share is None else [percent(node.share.mean)]
    return [name, *_at(node.position), *share]


def _at(position: str) -> list[str]:
    """`@ END`; a long name goes over several lines, broken where a reader would."""
    if not position:
        return []
    lines = [""]
    for part in re.findall(r".+?(?:_|\.\.|(?=\+)|$)", position):
        if lines[-1] and len(lines[-1]) + len(part) > 9:
            lines.append("")
        lines[-1] += part
    return ["@" + lines[0], *lines[1:]]


def place(record: TraceRecord, crowding: float = 1.0) -> Layout:
    """Boxes of all nodes.

    Args:
        crowding: 1 for the least room between rows; the router asks for more when it has to.
    """
    lanes = _lane_names(record)
    sizes = {node.id: _size(node, record) for node in record.nodes}
    rows = _rows(record, lanes)
    parts = [node for node in record.nodes if node.kind in ("head", "mlp")]
    start = max((sizes[n.id][0] for n in record.nodes if n.kind == "intervention"), default=0.0)
    joined = {(edge.sender, edge.receiver) for edge in record.edges if edge.shown}
    leaves_dormant = any(e.sender == "patch" and e.dormant and e.shown for e in record.edges)
    first_gap = _DORMANT_GAP if leaves_dormant else _BAR_GAP
    columns = _columns(parts, sizes, rows, joined, start + first_gap)
    ending = max((sizes[n.id][0] for n in record.nodes if n.kind == "logits"), default=0.0)
    last = max((columns[_column(n)] + sizes[n.id][0] / 2 for n in parts), default=start)
    spare = max(0.0, NARROW - last - _BAR_GAP - ending) / (len(columns) + 1)
    columns = {column: x + spare * (i + 1) for i, (column, x) in enumerate(columns.items())}
    right = last + _BAR_GAP + spare * (len(columns) + 1)
    tops, bands, height = _heights(record, lanes, sizes, rows, crowding)
    boxes = {
        node.id: Box(columns[_column(node)], tops[_lane(node, lanes), rows[node.id]],
                     *sizes[node.id])
        for node in parts
    }  # fmt: skip
    for node in record.nodes:
        if node.kind in ("head", "mlp"):
            continue
        wide = sizes[node.id][0]
        low, high = bands.get(node.position, (_AXIS, height))
        low += _TAG if len(lanes) > 1 else 0.0
        left = 0.0 if node.kind == "intervention" else right
        boxes[node.id] = Box(left + wide / 2, (low + high) / 2, wide, high - low)
    width = max(box.right for box in boxes.values())
    ticks = _ticks(parts, columns)
    found = {
        name: Box(width / 2, (low + high) / 2, width, high - low)
        for name, (low, high) in bands.items()
    }
    return Layout(boxes, found if len(lanes) > 1 else {}, ticks, width, height)


def _lane_names(record: TraceRecord) -> list[str]:
    """The positions where something is drawn, in the record's order."""
    used = {node.position for node in record.nodes if node.kind in ("head", "mlp")}
    return [p for p in dict.fromkeys([*record.positions, *sorted(used)]) if p in used] or [""]


def _lane(node: TraceNode, lanes: list[str]) -> str:
    return node.position if node.position in lanes else lanes[-1]


def _size(node: TraceNode, record: TraceRecord) -> tuple[float, float]:
    lines = node_lines(node, record)
    widths = [text_width(line, bold=i == 0) for i, line in enumerate(lines)]
    tall = LINE * len(lines)
    if node.kind != "head":
        return max(widths) + 6, tall + 5
    # An ellipse has to hold the corners of each line.
    half = tall / 2 * 1.25
    reach = 0.0
    for i, wide in enumerate(widths):
        corner = abs((i + 0.5) * LINE - tall / 2) + 0.35 * SIZE
        reach = max(reach, wide / 2 / (1 - (corner / half) ** 2) ** 0.5)
    return 2 * reach + 4, 2 * half


def _column(node: TraceNode) -> tuple[int, bool]:
    return node.layer or 0, node.kind == "mlp"


def _rows(record: TraceRecord, lanes: list[str]) -> dict[str, int]:
    """The row of each component in its lane; MLPs stand below the heads, many in two rows.

    Heads of columns that follow one another stand in different rows, as far as there are any:
    an edge from one to the next is then seen, and one that passes has a way.
    """
    rows: dict[str, int] = {}
    for lane in lanes:
        mine = [n for n in record.nodes if n.kind == "head" and _lane(n, lanes) == lane]
        stacks: dict[int, list[TraceNode]] = {}
        for node in mine:
            stacks.setdefault(node.layer or 0, []).append(node)
        deep = max([min(3, len(stacks)), *map(len, stacks.values())], default=0)
        first = 0
        for layer in sorted(stacks):
            for i, node in enumerate(sorted(stacks[layer], key=lambda n: n.head or 0)):
                rows[node.id] = (first + i) % deep
            first += len(stacks[layer])
        mlps = [n for n in record.nodes if n.kind == "mlp" and _lane(n, lanes) == lane]
        mlps.sort(key=lambda n: n.layer or 0)
        for i, node in enumerate(mlps):
            rows[node.id] = deep + (i % 2 if len(mlps) > 3 else 0)
    return rows


def _columns(
    parts: Iterable[TraceNode],
    sizes: dict[str, tuple[float, float]],
    rows: dict[str, int],
    joined: set[tuple[str, str]],
    left: float,
) -> dict[tuple[int, bool], float]:
    """The x of each column: as far left as order and neighbours in the same row allow."""
    columns: dict[tuple[int, bool], list[TraceNode]] = {}
    for node in parts:
        columns.setdefault(_column(node), []).append(node)
    neighbours: dict[tuple[str, int], TraceNode] = {}
    found: dict[tuple[int, bool], float] = {}
    before = None
    for column in sorted(columns):
        nodes = columns[column]
        x = 0.0 if before is None else before + _STEP["mlp" if column[1] else "head"]
        for node in nodes:
            end = left
            neighbour = neighbours.get((node.position, rows[node.id]))
            if neighbour is not None:
                gap = _LABEL_GAP if (neighbour.id, node.id) in joined else _GAP
                end = found[_column(neighbour)] + sizes[neighbour.id][0] / 2 + gap
            x = max(x, end + sizes[node.id][0] / 2)
            neighbours[node.position, rows[node.id]] = node
        found[column] = before = x
    return found


def _heights(
    record: TraceRecord,
    lanes: list[str],
    sizes: dict[str, tuple[float, float]],
    rows: dict[str, int],
    crowding: float,
) -> tuple[dict[tuple[str, int], float], dict[str, tuple[float, float]], float]:
    """The y of each row by lane, the band of each lane, and where the last one ends."""
    filled = {(_lane(n, lanes), rows[n.id]) for n in record.nodes if n.id in rows}
    centres: dict[tuple[str, int], float] = {}
    bands: dict[str, tuple[float, float]] = {}
    track = crowding * max(_TRACK, _WAY * _busiest(record) / (1 + len(filled)))
    margin = max(track / 2, 2.7 * LINE if any(e.dormant and e.shown for e in record.edges) else 0)
    y = _AXIS
    for lane in lanes:
        top = y
        mine = [n for n in record.nodes if n.id in rows and _lane(n, lanes) == lane]
        y += margin + (_TAG if len(lanes) > 1 else 0.0)
        for row in sorted({rows[node.id] for node in mine}):
            tall = max(sizes[node.id][1] for node in mine if rows[node.id] == row)
            centres[lane, row] = y + tall / 2
            y += tall + track
        y += margin - track
        bands[lane] = (top, y)
        y += _LANE_GAP
    return centres, bands, y - _LANE_GAP


def _busiest(record: TraceRecord) -> int:
    """The largest number of shown edges that pass one column."""
    ends = {"intervention": (-1, False), "logits": (1 << 20, False)}
    at = {node.id: ends.get(node.kind, _column(node)) for node in record.nodes}
    spans = [(at[e.sender], at[e.receiver]) for e in record.edges if e.shown]
    return max((sum(a < x < b for a, b in spans) for x in set(at.values())), default=0)


def _ticks(parts: Iterable[TraceNode], columns: dict[tuple[int, bool], float]) -> dict[int, Box]:
    """One tick a layer, above the middle of its columns."""
    ticks = {}
    for layer in sorted({layer for layer, _ in columns}):
        xs = [x for (l, _), x in columns.items() if l == layer]  # noqa: E741
        ticks[layer] = Box((min(xs) + max(xs)) / 2, LINE / 2, text_width(str(layer)) + 2, LINE)
    return ticks
