"""What plots show: the numbers of the records, named and on the scales that fit them."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from causaldsl.report import bars, curves, heatmaps
from causaldsl.report.circuit_pictures import circuit_dot
from causaldsl.report.kinds import histograms
from causaldsl.report.pictures import picture_text
from causaldsl.report.plots import subplots
from causaldsl.results.numbers import Number
from causaldsl.results.records import (
    HistogramArm,
    HistogramClass,
    HistogramRecord,
    PlotRecord,
    Results,
    SweepRecord,
    TableRecord,
    TemplatesRecord,
)
from causaldsl.results.routes import CircuitRecord

GOLDEN = Path(__file__).parent / "golden" / "plots.txt"
NAN = float("nan")
LAYERS, PLACES = ["0", "5", "10"], ["IO", "END"]


def number(mean: float, half: float = 0.25) -> Number:
    return Number(mean=mean, n=40, low=mean - half, high=mean + half)


def results() -> Results:
    """A measure, sweeps over layers and positions, tables and a histogram."""
    measure = {
        "clean": {"logit_diff": number(2.0), "fldd": number(NAN)},
        "whole": {"logit_diff": number(-1.0), "fldd": number(NAN)},
        "along_v": {"logit_diff": Number(mean=1.5, n=40, low=1.5, high=1.5), "fldd": number(NAN)},
    }
    cells = [".".join(at) for at in product(LAYERS, PLACES)]
    swept = {"clean": {"fldd": number(0.0), "prob": number(0.5)}}
    swept |= {
        f"[{cell}]": {"fldd": number(i / 8), "prob": number(0.5 - i / 16)}
        for i, cell in enumerate(cells)
    }
    sweep = SweepRecord(
        axes={"l": LAYERS, "p": PLACES},
        shown={"p": ["2 Mary/John", "7 to"]},
        quantities={"l": "layer", "p": "token"},
        arms=[""],
        simultaneous={"fldd": [0.5] * len(cells)},
    )
    table = TableRecord(
        axes={"h": ["7.0", "7.1"], "p": PLACES},
        quantities={"h": "head", "p": "position"},
        of={"share": "share of attention"},
        cells={"share": {"7.0.IO": 0.5, "7.0.END": 0.25, "7.1.IO": 0.125, "7.1.END": 0.75}},
        intervals={"share": {"7.0.IO": (0.25, 0.625)}},
        simultaneous={"share": 2.0},
    )
    return Results.model_construct(
        measures={"effects": measure, "where": swept},
        sweeps={"where": sweep},
        tables={"looks": table},
        histograms={"apart": histogram()},
        provenance={"model": "tiny"},
    )


def histogram() -> HistogramRecord:
    def arm(label: str, low: float, high: float) -> HistogramArm:
        middle = (low + high) / 2
        cls = HistogramClass(n=4, mean=middle, low=low, high=high, sd=1.0, counts=[1, 3])
        return HistogramArm(label=label, edges=[low, middle, high], classes={"ABB": cls})

    return HistogramRecord(
        arms={
            "early": arm("v at early", -1.0, 1.0),
            "steered": arm("v at early with steer early along v", -1.0, 1.0),
            "late": arm("u at late", -400.0, 800.0),
        }
    )


DRAWN: dict[str, Callable[[Path], None]] = {
    "plot effects": lambda path: bars.plot_bars(results(), "effects", path),
    "plot where": lambda path: heatmaps.plot_sweep(results(), "where", path),
    "plot where by l lines p": lambda path: curves.plot_curves(
        results(), PlotRecord(target="where", by="l", lines="p"), path
    ),
    "plot where by l": lambda path: curves.plot_curves(
        results(), PlotRecord(target="where", by="l"), path
    ),
    "plot where by l lines p relative 0.5": lambda path: curves.plot_curves(
        results(),
        PlotRecord(target="where", by="l", lines="p", relative=0.5, relative_to="x", metric="fldd"),
        path,
    ),
    "plot looks by p lines h": lambda path: curves.plot_curves(
        results(), PlotRecord(target="looks", by="p", lines="h"), path
    ),
    "plot apart": lambda path: histograms.plot_histogram(results(), "apart", path),
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, instead of their files."""
    seen: list[Figure] = []
    for module in (bars, curves, heatmaps, histograms):
        monkeypatch.setattr(module, "save", lambda figure, *_: seen.append(figure))
    return seen


def test_cells_say_their_numbers_where_they_stand(tmp_path: Path) -> None:
    """Each in a rectangle of its own, which together are the picture's own grid."""
    heatmaps.plot_sweep(results(), "where", tmp_path / "where.svg")
    root = ElementTree.parse(tmp_path / "where.svg").getroot()
    said = {area[0].text: area.attrib for area in root.iter() if area.get("class") == "said"}
    fldd = [text for text in said if text and text.startswith("fldd, ")]
    assert len(said) == 12
    assert len(fldd) == 6
    assert "fldd, layer l 5, token p 7 to: 0.38 [0.12, 0.62]" in fldd
    boxes = [[float(said[t][side]) for side in ("x", "y", "width", "height")] for t in fldd]
    for column, row in product(range(3), range(2)):
        x, y, width, height = boxes[row * 3 + column]
        assert x == pytest.approx(boxes[0][0] + column * width, abs=0.2)
        assert y == pytest.approx(boxes[0][1] + row * height, abs=0.2)
    image = next(e for e in root.iter() if e.tag.endswith("}image"))
    left, wide = float(image.get("x", "0")), float(image.get("width", "0"))
    assert left == pytest.approx(boxes[0][0], abs=1.5)
    assert wide == pytest.approx(3 * boxes[0][2], abs=2.5)


def test_bars_have_a_dot_for_each_template_and_say_their_numbers(tmp_path: Path) -> None:
    of = TemplatesRecord(
        metric="logit_diff", templates=["a", "b <&>"], units=[3, 4], between={},
        arms={"clean": [1.5, 2.5], "whole": [-1.25, None]},
    )  # fmt: skip
    found = results().model_copy(update={"templates": {"effects": of}})
    _, (axis,) = subplots((4, 2))
    bars._dots(axis, [of.arms.get(arm, []) for arm in ("clean", "whole", "along_v")])
    assert [line.get_xdata().tolist() for line in axis.lines] == [[1.5, 2.5], [-1.25], []]
    bars.plot_bars(found, "effects", tmp_path / "effects.svg")
    text = (tmp_path / "effects.svg").read_text()
    assert "<title>whole: -1.00 [-1.25, -0.75]</title>" in text
    assert "dots: templates" in text


def shown(figure: Figure) -> list[str]:
    """What a figure has, panel by panel, as text."""
    lines = [f"  title: {figure.get_suptitle()}"]
    for axis in figure.axes:
        kind = "colours" if hasattr(axis, "_colorbar") else "panel"
        lines.append(f"  {kind} {axis.get_title(loc='left')}".rstrip())
        lines.append(f"    x {axis.get_xlabel()!r} {_ticks(axis.xaxis)}")
        lines.append(f"    y {axis.get_ylabel()!r} {_ticks(axis.yaxis)}")
        for container in axis.containers:
            if isinstance(container, BarContainer):
                lines += [f"    bar {p.get_y() + 0.31:g}: {p.get_width():g}" for p in container]
        for line in axis.lines:
            x, y = ([round(float(v), 4) for v in values] for values in line.get_data())
            name = line.get_label()
            lines.append(f"    line{'' if name.startswith('_') else f' {name}'}: {x} {y}")
        for band in axis.collections if kind == "panel" else ():
            ends = band.get_paths()[0].get_extents()
            lines.append(f"    band from {ends.y0:g} to {ends.y1:g}")
        for image in axis.images:
            values = [[round(float(v), 4) for v in row] for row in image.get_array()]
            lines.append(f"    colours {image.get_cmap().name} {image.get_clim()} {values}")
        lines += [f"    says {text.get_text()!r}" for text in axis.texts]
        legend = axis.get_legend()
        if legend is not None:
            names = [text.get_text() for text in legend.get_texts()]
            lines.append(f"    legend {legend.get_title().get_text()!r} {names}")
    return lines


def _ticks(axis: Any) -> list[str]:
    """Labels that were given, and not chosen to fit the numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return []
    return [text.get_text() for text in axis.get_ticklabels() if text.get_text()]


def test_golden_pictures(figures: list[Figure]) -> None:
    found = []
    for name, draw in DRAWN.items():
        draw(Path("unused.svg"))
        found += [name, *shown(figures.pop())]
    text = "\n".join(found) + "\n"
    if os.environ.get("UPDATE"):
        GOLDEN.write_text(text, "utf-8")
    assert text == GOLDEN.read_text("utf-8")


def test_bars_are_the_numbers_and_their_intervals(figures: list[Figure]) -> None:
    DRAWN["plot effects"](Path("unused.svg"))
    measured, withheld = figures[0].axes
    assert [patch.get_width() for patch in measured.patches] == [2.0, -1.0, 1.5]
    intervals = [line.get_xdata() for line in measured.lines if line.get_marker() == "|"]
    assert [list(ends) for ends in intervals] == [[1.75, 2.25], [-1.25, -0.75]]
    assert not withheld.patches
    assert [text.get_text().strip() for text in withheld.texts] == 3 * ["withheld"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.0, 0.5], ("viridis", 0.0, 0.5)),
        ([-0.5, -0.25, NAN], ("viridis_r", -0.5, 0.0)),
        ([-0.5, 0.25], ("RdBu_r", -0.5, 0.5)),
        ([], ("viridis", 0.0, 1e-9)),
    ],
)
def test_a_scale_has_as_many_signs_as_its_numbers(
    values: list[float], scale: tuple[str, float, float]
) -> None:
    found = heatmaps.colours(values)
    assert (found["cmap"], found["vmin"], found["vmax"]) == scale


def test_arms_at_one_place_share_an_axis(figures: list[Figure]) -> None:
    DRAWN["plot apart"](Path("unused.svg"))
    early, steered, late = figures[0].axes
    assert early.get_shared_x_axes().joined(early, steered)
    assert not early.get_shared_x_axes().joined(early, late)
    assert late.get_xlim()[1] > 100 > early.get_xlim()[1]


def test_every_line_looks_different() -> None:
    assert len({bars.look(number) for number in range(28)}) == 28


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_a_picture_of_a_measure_is_the_same_each_time(suffix: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    DRAWN["plot effects"](first)
    DRAWN["plot effects"](second)
    assert first.read_bytes() == second.read_bytes()


def swept(quantity: str) -> Results:
    """A sweep over one variable with two metrics, whose heatmaps have one row."""
    labels = [str(i) for i in range(6)]
    cells = {"clean": {"logit_diff": number(2.0), "prob": number(0.5)}}
    cells |= {
        f"[{x}]": {"logit_diff": number(i), "prob": number(i / 6)} for i, x in enumerate(labels)
    }
    record = SweepRecord(
        axes={"s": labels}, quantities={"s": quantity}, arms=[""], simultaneous={"prob": [0.1] * 6}
    )
    return Results.model_construct(
        measures={"where": cells}, sweeps={"where": record}, tables={}, provenance={"model": "t"}
    )


def test_what_stands_beside_one_row_is_as_high_as_it(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Any] = []
    monkeypatch.setattr(heatmaps, "save", lambda figure, path, areas: saved.append(figure))
    heatmaps.plot_sweep(swept("layer"), "where", Path("unused"))
    (figure,) = saved
    figure.draw_without_rendering()
    bars = [
        axis.yaxis.label.get_window_extent()
        for axis in figure.axes
        if axis.get_label() == "<colorbar>"
    ]
    first, second = sorted(bars, key=lambda box: box.y0)
    assert first.y1 < second.y0
    assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in bars)


@pytest.mark.parametrize(
    ("quantity", "joined"), [("layer", True), ("seed", False), ("head", False)]
)
def test_what_has_no_order_is_not_joined(
    quantity: str, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Any] = []
    monkeypatch.setattr(curves, "save", lambda figure, path: saved.append(figure))
    curves.plot_curves(swept(quantity), PlotRecord(target="where", by="s"), Path("unused"))
    (figure,) = saved
    _, axis = figure.axes
    (line,) = axis.lines
    (interval,) = axis.collections
    assert (line.get_linestyle() != "None") == joined
    assert line.get_marker() == "o"
    assert ("Fill" in type(interval).__name__ or "Poly" in type(interval).__name__) == joined
    assert (len(interval.get_paths()) == 6) != joined


def test_heads_have_names_and_no_places_on_a_scale(figures: list[Figure]) -> None:
    """Whatever their numbers are: 23.3 and 23.7 are as far apart as 19.1 and 20.1."""
    for labels in (["19.1", "20.1", "23.3", "23.7", "29.1"], ["0.9", "1.2", "1.10", "2.0"]):
        cells = {arm: dict.fromkeys(labels, 0.5) for arm in ("to", "from")}
        ends = {arm: dict.fromkeys(labels, (0.2, 0.9)) for arm in cells}
        table = TableRecord(
            axes={"h": labels}, quantities={"h": "head"}, cells=cells, intervals=ends
        )
        found = Results.model_construct(tables={"looks": table}, provenance={})
        curves.plot_curves(found, PlotRecord(target="looks"), Path("unused.svg"))
        (axis,) = figures.pop().axes
        assert all(list(line.get_xdata()) == list(range(len(labels))) for line in axis.lines)
        assert _ticks(axis.xaxis) == labels
        assert axis.get_xscale() == "linear"


@pytest.mark.parametrize(
    "name", ["plot looks by p lines h", "plot where by l lines p", "plot apart"]
)
def test_a_legend_covers_nothing(name: str, figures: list[Figure]) -> None:
    DRAWN[name](Path("unused.svg"))
    (figure,) = figures
    figure.draw_without_rendering()
    legends = [axis.get_legend() for axis in figure.axes if axis.get_legend() is not None]
    assert legends
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axis.get_window_extent()) for axis in figure.axes)
        assert box.x1 <= figure.bbox.x1


def test_layers_that_nothing_joins_stand_in_rows() -> None:
    """From left to right, and rows from top to bottom; with few layers there is one row."""
    parts = [f"head[{layer}.{layer % 3}]" for layer in range(20)]
    for count, rows in ((8, 1), (20, 3)):
        record = CircuitRecord.model_construct(
            parts=parts[:count], size=count, universe=60, over="heads", outside="mean"
        )
        drawn = ElementTree.fromstring(picture_text(circuit_dot(record, "m.c", "t")))
        said = {text.text: text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
        nodes = [said[f"{layer}.{layer % 3}"] for layer in range(count)]
        places = [(float(node.attrib["y"]), float(node.attrib["x"])) for node in nodes]
        assert places == sorted(places)
        assert len({y for y, _ in places}) == rows
        assert float(drawn.attrib["viewBox"].split()[2]) < 900
