"""The picture of a trace: what it says, that nothing in it overlaps, that it is always the same."""

from __future__ import annotations

import itertools
import os
from functools import cache
from pathlib import Path

import pytest

from causaldsl.report.pathways.draw import AGAINST, FOR, trace_dot
from causaldsl.report.pictures import picture_text, render_dot
from tests.report.drawn import Shown, read_svg
from tests.report.synthetic import made_of, trace

GOLDEN = Path(__file__).parent / "golden"
CASES = [
    (12, ("END",), 2),
    (12, ("S1", "S2", "END"), 2),
    (25, ("END",), 3),
    (25, ("S2", "END"), 0),
    (40, ("END",), 4),
    (40, ("subject_last_token", "S2+1", "END"), 3),
]


@cache
def drawn(case: tuple[int, tuple[str, ...], int]) -> tuple[str, str, Shown]:
    dot = trace_dot(trace(*case), "pathways", "smollm2-135m")
    svg = picture_text(dot)
    return dot, svg, read_svg(svg)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nodes_and_labels_do_not_overlap(case):
    _, _, shown = drawn(case)
    boxes = {**shown.nodes, **{f"label {name}": box for name, box in shown.labels.items()}}
    assert len(shown.nodes) > case[0]
    met = [
        (a, b)
        for a, b in itertools.combinations(boxes, 2)
        if not a.startswith("legend") and boxes[a].meets(boxes[b])
    ]
    assert not met


@pytest.mark.parametrize("case", CASES, ids=str)
def test_text_stays_inside_its_node(case):
    _, _, shown = drawn(case)
    record = trace(*case)
    for node in record.nodes:
        box = shown.nodes[node.id]
        for words in shown.words[node.id]:
            assert box.left <= words.left
            assert words.right <= box.right
            assert box.top <= words.top
            assert words.bottom <= box.bottom


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_edge_runs_through_another_node(case):
    _, _, shown = drawn(case)
    for name, points in shown.lines.items():
        ends = name.split("->")
        for node, box in shown.nodes.items():
            if node in ends or node.startswith(("layer", "legend", "caption", "title")):
                continue
            for x, y in points:
                u, v = abs(x - box.x) / (box.width / 2), abs(y - box.y) / (box.height / 2)
                inside = u * u + v * v < 0.98 if node in shown.ellipses else max(u, v) < 0.98
                assert not inside, (name, node)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layers_go_from_left_to_right(case):
    _, _, shown = drawn(case)
    nodes = trace(*case).nodes
    columns = {
        (node.layer, node.kind == "mlp"): shown.nodes[node.id].x
        for node in nodes
        if node.kind in ("head", "mlp")
    }
    in_order = [columns[column] for column in sorted(columns)]
    assert in_order == sorted(in_order)
    assert len(set(in_order)) == len(in_order)
    assert shown.nodes["patch"].right < min(in_order)
    assert shown.nodes["logits"].left > max(in_order)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_edges_are_drawn_as_what_they_are(case):
    dot, _, shown = drawn(case)
    record = trace(*case)
    lines = {line.split(" [")[0].strip(): line for line in dot.split("\n") if " -> " in line}
    for edge in record.edges:
        name = f"{_quoted(edge.sender)} -> {_quoted(edge.receiver)}"
        if not edge.shown:
            assert name not in lines
            continue
        line = lines[name]
        assert (FOR if edge.share >= 0 else AGAINST) in line
        assert ("arrowhead=tee" in line) == (edge.share < 0)
        assert ("style=dashed" in line) == ("dormant" in line) == edge.dormant
    unlabelled = sum(e.shown for e in record.edges) - len(shown.labels)
    assert unlabelled <= 0.05 * len(shown.lines)
    weakest = {e.sender + "->" + e.receiver for e in record.edges if e.dormant}
    assert weakest <= set(shown.labels)


def test_caption_and_legend_say_what_a_reader_needs():
    shown = drawn(CASES[0])[2]
    caption = " ".join(shown.texts["caption"])
    record = trace(*CASES[0])
    said = [record.does, "smollm2-135m", record.metric, record.pairs, "n = 150", record.policy]
    said += ["clean 3.21 [3.15, 3.27]", "total effect −1.70 [−1.76, −1.64]", "position END"]
    for part in [*said, "22 edges shown (2 dormant)", "83% [77%, 89%]"]:
        assert part in caption
    legend = " ".join(
        text for name, texts in shown.texts.items() if "legend" in name for text in texts
    )
    marks = ["head (layer.head)", "MLP (layer)", "with the total effect", "against it"]
    for part in [*marks, "dormant", "line width"]:
        assert part in legend


def test_small_enough_for_a_page():
    """Text is 9 pt: it keeps 5.8 pt in a column (8.5 cm) for 12 nodes, 7.5 pt over two for 40."""
    sizes = {case[0]: drawn(case)[1] for case in CASES if len(case[1]) == 1}
    width = {size: float(svg.split('width="')[1].split("pt")[0]) for size, svg in sizes.items()}
    column, page = 8.5 / 2.54 * 72, 17.5 / 2.54 * 72
    assert 9 * column / width[12] > 5.8
    assert 9 * page / width[25] > 8
    assert 9 * page / width[40] > 7.5


@pytest.mark.parametrize("case", CASES[:2], ids=["one_position", "three_positions"])
def test_golden_dot(case, request):
    path = GOLDEN / f"{request.node.callspec.id}.dot"
    dot = drawn(case)[0]
    if os.environ.get("UPDATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(dot, "utf-8")
    assert dot == path.read_text("utf-8")


def test_the_same_record_gives_the_same_bytes():
    record = trace(25, ("S2", "END"), 2)
    assert trace_dot(record, "t", "m") == trace_dot(record.model_copy(deep=True), "t", "m")


def test_the_order_of_edges_in_the_record_does_not_matter():
    record = trace(12)
    turned = record.model_copy(update={"edges": record.edges[::-1]})
    assert trace_dot(record, "t", "m") == trace_dot(turned, "t", "m")


def test_names_that_dot_and_html_could_misread(tmp_path):
    record = trace(12).model_copy(update={"does": 'patch <b> & "x" along v:1', "metric": "a<b"})
    dot = trace_dot(record, 'pathways <&"\\', "models/my model")
    render_dot(dot, tmp_path / "x.svg")
    shown = read_svg((tmp_path / "x.svg").read_text("utf-8"))
    assert 'patch <b> & "x" along v:1' in " ".join(shown.texts["caption"])
    assert shown.texts["title"] == ['Trace pathways <&"\\']


ODD = {
    "all in one layer": [("patch", f"22.{h}", 0.1 * h - 0.3) for h in range(9)]
    + [(f"22.{h}", "logits", 0.05 * h + 0.01) for h in range(9)],
    "only MLPs": [("patch", f"mlp{layer}", 0.1) for layer in range(20, 30)]
    + [(f"mlp{layer}", "logits", 0.1) for layer in range(20, 30)],
    "straight to the logits": [("patch", "logits", 0.8), ("patch", "22.1", 0.1)],
    "far more than the total": [("patch", "22.1", 15.3), ("22.1", "logits", -12.0)],
}


@pytest.mark.parametrize("case", ODD)
def test_traces_of_unusual_shape(case):
    record = made_of(ODD[case])
    shown = read_svg(picture_text(trace_dot(record, "t", "m")))
    assert len(shown.labels) == len(record.edges)
    boxes = [*shown.nodes.items(), *shown.labels.items()]
    for (name, one), (_, other) in itertools.combinations(boxes, 2):
        assert name.startswith("legend") or not one.meets(other)


def test_a_trace_that_shows_no_edge_is_still_a_picture():
    record = trace(12)
    hidden = [edge.model_copy(update={"shown": False}) for edge in record.edges]
    bare = record.model_copy(update={"edges": hidden, "nodes": [record.nodes[0], record.nodes[-1]]})
    shown = read_svg(picture_text(trace_dot(bare, "t", "m")))
    assert {"patch", "logits"} <= set(shown.nodes)
    assert not shown.labels


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'
