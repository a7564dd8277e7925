"""A trace as a picture: what carried the effect, layers from left to right.

The DOT source holds every place (`layout=nop2`), so that Graphviz and `graphviz-pure` draw the same
picture and nothing in it overlaps. No distinction rests on colour alone: heads are ellipses and
MLPs boxes, an edge against the effect ends in a bar, a dormant edge is a double dashed line with
its label in a frame.
"""

from __future__ import annotations

from html import escape
from typing import Any

from causaldsl.report.numbers import percent, tint
from causaldsl.report.pathways.layout import (
    LINE,
    NARROW,
    SIZE,
    Box,
    Layout,
    node_lines,
    place,
    text_width,
)
from causaldsl.report.pathways.legend import Entry, caption, legend
from causaldsl.report.pathways.routes import Point, Route, Router, Wish, bezier
from causaldsl.results.routes import TraceEdge, TraceNode, TraceRecord
from causaldsl.shown import visible

FOR, AGAINST = "#c44e00", "#0062a3"
"""With and against the total effect; told apart in every common kind of colour blindness."""
_GREY, _LANE = "#666666", "#f3f3f3"
_THIN, _THICK, _STRONG = 0.8, 6.0, 0.3
_FILLS = {"head": "#ffffff", "mlp": "#ffffff", "intervention": "#333333", "logits": "#333333"}
_SHAPES = {"head": "ellipse", "mlp": "box", "intervention": "box", "logits": "box"}
_SPELLED_OUT = 6
"""The number of dormant edges, the strongest, with words on them; others have only numbers."""
_DORMANT_FILL = "#fff3c4"
_LEGEND_LINES = {
    "for": {"color": FOR, "penwidth": "2.5", "arrowsize": "0.5"},
    "against": {"color": AGAINST, "penwidth": "2.5", "arrowsize": "0.5", "arrowhead": "tee"},
    "dormant": {
        "color": f"{FOR}:white:{FOR}",
        "penwidth": "1.5",
        "arrowsize": "0.5",
        "style": "dashed",
    },
    "width": {"color": FOR, "arrowhead": "none"},
}
_ROOMIER = (1.0, 1.35, 1.8)


def trace_dot(record: TraceRecord, name: str, model: str) -> str:
    """DOT source of a trace's pathway diagram; equal records give equal bytes.

    Args:
        name: what the caption calls it, such as the trace's name in its program.
    """
    layout, routes = _laid_out(record)
    width = max(layout.width, NARROW)
    entries, below = legend(record, layout.height + LINE, width)
    title, *lines = caption(record, name, model, width - 8)
    draw = _Drawing(foot=below + LINE * (len(lines) + 1.8))
    for position, box in layout.lanes.items():
        draw.lane(position, box)
    for layer, box in layout.ticks.items():
        draw.text(f"layer {layer}", str(layer), box)
    draw.text("layers", "layer", _axis_name(layout))
    for node in record.nodes:
        draw.component(node, record, layout.boxes[node.id])
    strongest = _strongest(record)
    for edge, route in routes:
        draw.edge(edge, route, _pen(edge.share, strongest))
    widest = _pen(max((abs(edge.share) for edge, _ in routes), default=0.0), strongest)
    for entry in entries:
        draw.legend(entry, widest)
    draw.lines("title", [title], Box(width / 2, below + LINE, width, LINE), "Helvetica-Bold")
    tall = LINE * len(lines)
    box = Box(width / 2, below + LINE * 1.6 + tall / 2, width, tall)
    draw.lines("caption", lines, box)
    return str(draw.picture.source)


def _laid_out(record: TraceRecord) -> tuple[Layout, list[tuple[TraceEdge, Route]]]:
    """Nodes and edges placed, with more room between the rows where a label finds none."""
    tried = []
    for crowding in _ROOMIER:
        layout = place(record, crowding)
        routes = _routes(record, layout)
        missing = sum(
            10 if edge.dormant and i < _SPELLED_OUT else 1
            for i, (edge, route) in enumerate(routes)
            if route.beside
        )
        tried.append((missing, crowding, layout, routes))
        if missing <= len(routes) // 40:
            break
    _, _, layout, routes = min(tried, key=lambda found: found[:2])
    return layout, routes


def _routes(record: TraceRecord, layout: Layout) -> list[tuple[TraceEdge, Route]]:
    kinds = {node.id: node.kind for node in record.nodes}
    router = Router(
        layout.boxes,
        rounded={name for name, kind in kinds.items() if kind == "head"},
        bars={name for name, kind in kinds.items() if kind in ("intervention", "logits")},
        frame=layout.frame,
        edges=sum(edge.shown for edge in record.edges),
    )
    strongest = _strongest(record)
    shown = [edge for edge in record.edges if edge.shown]
    shown.sort(key=lambda e: (not e.dormant, -abs(e.share), e.sender, e.receiver))
    routes = []
    for i, edge in enumerate(shown):
        full = edge.dormant and i < _SPELLED_OUT
        lines = _edge_lines(edge, full)
        bold, frame = (edge.dormant, 5.0) if edge.dormant else (False, 1.0)
        label = (max(text_width(x, bold) for x in lines) + frame, LINE * len(lines) + frame)
        wish = Wish(edge.sender, edge.receiver, label, _pen(edge.share, strongest), full)
        routes.append((edge, router.lay(wish)))
    return routes


def _strongest(record: TraceRecord) -> float:
    """The share that is drawn widest: never a small one, so that weak edges look weak."""
    return max([_STRONG, *(abs(edge.share) for edge in record.edges if edge.shown)])


def _pen(share: float, strongest: float) -> float:
    return round(_THIN + (_THICK - _THIN) * abs(share) / strongest, 2)


def _edge_lines(edge: TraceEdge, full: bool) -> list[str]:
    """The lines of a label. A dormant edge also has its natural share, ``full`` with words."""
    if not edge.dormant:
        return [percent(edge.share)]
    if full:
        return [f"dormant {percent(edge.share)}", f"(natural {percent(edge.natural_share)})"]
    return [f"{percent(edge.share)} ({percent(edge.natural_share)})"]


def _axis_name(layout: Layout) -> Box:
    wide = text_width("layer") + 2
    first = min((tick.left for tick in layout.ticks.values()), default=wide)
    return Box(first - wide / 2 - 4, LINE / 2, wide, LINE)


class _Drawing:
    """The DOT source, written piece by piece; y goes down here and up in DOT."""

    def __init__(self, foot: float) -> None:
        import graphviz

        self.foot = foot
        font = {"fontname": "Helvetica", "fontsize": f"{SIZE:g}"}
        self.picture: Any = graphviz.Digraph(
            graph_attr=font | {"layout": "nop2", "outputorder": "edgesfirst", "pad": "0.06"},
            node_attr=font | {"fixedsize": "true", "margin": "0"},
            edge_attr=font,
        )

    def lane(self, position: str, box: Box) -> None:
        """A shaded band behind what happens at one position."""
        corners = (*self._up((box.left, box.bottom)), *self._up((box.right, box.top)))
        with self.picture.subgraph(name=f"cluster_{position}") as band:
            band.attr(
                bb=",".join(f"{c:.1f}" for c in corners),
                bgcolor=_LANE,
                pencolor="none",
                label=f"@{position}",
                lp=self._at((box.left + text_width(f"@{position}") / 2 + 4, box.top + LINE * 0.7)),
                fontcolor=_GREY,
            )

    def text(self, name: str, text: str, box: Box) -> None:
        """One grey line in the middle of its box."""
        self._words(name, _plain(text), box, fontcolor=_GREY)

    def lines(self, name: str, lines: list[str], box: Box, font: str = "Helvetica") -> None:
        """Lines that begin at the left of their box."""
        self._words(name, "".join(f"{_plain(line)}\\l" for line in lines), box, fontname=font)

    def _words(self, name: str, label: str, box: Box, **how: str) -> None:
        # Graphviz warns of a node that is as high as its text.
        roomy = Box(box.x, box.y, box.width, box.height + 2)
        self._node(name, label, roomy, shape="plaintext", **how)

    def component(self, node: TraceNode, record: TraceRecord, box: Box) -> None:
        first, *rest = (_marked(line) for line in node_lines(node, record))
        label = "<" + "<BR/>".join([f"<B>{first}</B>", *rest]) + ">"
        end = node.kind in ("intervention", "logits")
        self._node(
            node.id,
            label,
            box,
            shape=_SHAPES[node.kind],
            style="filled",
            fillcolor=_FILLS[node.kind] if end else _fill(node, record),
            fontcolor="white" if end else "black",
        )

    def edge(self, edge: TraceEdge, route: Route, pen: float) -> None:
        full = route.label is not None and route.label.height > 2 * LINE
        lines = [_marked(line) for line in _edge_lines(edge, full)]
        frame = (
            {"BORDER": "1", "BGCOLOR": _DORMANT_FILL, "CELLPADDING": "1"}
            if edge.dormant
            else {"BORDER": "0"}
        )
        label = {}
        if route.label is not None:
            label = {"label": _framed(lines, frame, edge.dormant)}
            label["lp"] = self._at((route.label.x, route.label.y))
        self._line(edge.sender, edge.receiver, route.points, _line_style(edge, pen), label)

    def legend(self, entry: Entry, widest: float) -> None:
        name = f"legend {entry.mark}"
        self.lines(f"{name} words", [entry.text], entry.words)
        if entry.mark in ("head", "mlp"):
            self._node(name, "", entry.symbol, shape=_SHAPES[entry.mark], style="filled",
                       fillcolor=_FILLS[entry.mark])  # fmt: skip
            return
        box = entry.symbol
        for side, x in (("from", box.left), ("to", box.right)):
            self._node(f"{name} {side}", "", Box(x, box.y, 1, 1), shape="point", style="invis")
        style = {"penwidth": f"{widest:g}", **_LEGEND_LINES[entry.mark]}
        points = [(box.left, box.y), (box.x, box.y), (box.right, box.y)]
        self._line(f"{name} from", f"{name} to", points, style, {})

    def _node(self, name: str, label: str, box: Box, **how: str) -> None:
        size = {"width": f"{box.width / 72:.3f}", "height": f"{box.height / 72:.3f}"}
        self.picture.node(name, label, pos=self._at((box.x, box.y)), **size, **how)

    def _line(
        self,
        sender: str,
        receiver: str,
        points: list[Point],
        style: dict[str, str],
        label: dict[str, str],
    ) -> None:
        tip = points[-1]
        length = 0.0 if style.get("arrowhead") == "none" else 10 * float(style["arrowsize"])
        curve = bezier(_shortened(points, length))
        pos = f"e,{self._at(tip)} " if length else ""
        pos += " ".join(self._at(point) for point in curve)
        self.picture.edge(sender, receiver, pos=pos, **style, **label)

    def _up(self, point: Point) -> Point:
        return point[0], self.foot - point[1]

    def _at(self, point: Point) -> str:
        return ",".join(f"{value:.1f}" for value in self._up(point)).replace("-0.0", "0.0")


def _plain(text: str) -> str:
    """Text that DOT takes as it is: a backslash would begin one of its escapes."""
    return visible(text).replace("\\", "\\\\")


def _marked(text: str) -> str:
    """Text that an HTML-like label of DOT takes as it is."""
    return escape(visible(text))


def _framed(lines: list[str], frame: dict[str, str], bold: bool) -> str:
    """A label on its own ground, so that it is read on the line."""
    look = {"BGCOLOR": "white", "CELLPADDING": "0", "CELLBORDER": "0", "CELLSPACING": "0", **frame}
    attributes = " ".join(f'{key}="{value}"' for key, value in look.items())
    body = "<BR/>".join(
        f"<B>{line}</B>" if bold and i == 0 else line for i, line in enumerate(lines)
    )
    return f"<<TABLE {attributes}><TR><TD>{body}</TD></TR></TABLE>>"


def _line_style(edge: TraceEdge, pen: float) -> dict[str, str]:
    color = FOR if edge.share >= 0 else AGAINST
    style = {"color": color, "penwidth": f"{pen:g}", "arrowsize": f"{0.45 + 0.05 * pen:.2f}"}
    if edge.share < 0:
        style["arrowhead"] = "tee"
    if edge.dormant:
        strand = max(1.2, pen / 3)
        style |= {"color": f"{color}:white:{color}", "style": "dashed", "penwidth": f"{strand:.2f}"}
    return style


def _fill(node: TraceNode, record: TraceRecord) -> str:
    """A component's fill, by its mediated share of the largest one."""
    if node.share is None:
        return "#ffffff"
    largest = max(abs(n.share.mean) for n in record.nodes if n.share is not None) or 1.0
    return tint(node.share.mean / largest)


def _shortened(points: list[Point], length: float) -> list[Point]:
    """The line without its last ``length`` points, which the arrow head takes."""
    end = points[-1]
    kept = [p for p in points if (p[0] - end[0]) ** 2 + (p[1] - end[1]) ** 2 > length**2]
    if not kept:
        return [points[0], points[-1]]
    last = kept[-1]
    away = ((last[0] - end[0]) ** 2 + (last[1] - end[1]) ** 2) ** 0.5
    part = length / away
    return [*kept, (end[0] + (last[0] - end[0]) * part, end[1] + (last[1] - end[1]) * part)]
