"""Sweeps as heatmaps: a panel for each metric and arm, all panels of a metric on one colour scale.

The first loop variable runs along x; the second, if any, along y; further ones are joined with it.
A sweep over one variable has its arms along y; one over all heads of layers is layer by head.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causaldsl.results.records import Results, SweepRecord

# Told apart in black and white too, by their lines (Okabe and Ito's colours).
LOOKS = (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":"), ("#cc79a7", "-."))
_SIGNED = {"fldd", "logit_diff", "output"}


@dataclass(frozen=True)
class _Panel:
    """One heatmap: ``cells`` names the arm of each cell, row by row."""

    title: str
    metric: str
    columns: list[str]
    rows: list[str]
    cells: list[list[str]]
    x_name: str
    y_name: str


def plot_sweep(results: Results, name: str, path: Path) -> None:
    """Draw a sweep's metrics and write the picture; its ending says the format."""
    table = results.measures[name]
    metrics = list(table["clean"])
    panels = _panels(results.sweeps[name], metrics)
    columns, rows = panels[0].columns, panels[0].rows
    width = min(14.0, 2.6 + 0.3 * len(columns))
    height = 0.8 + 0.26 * len(rows)
    figure, axes = subplots((width, 0.5 + height * len(panels)), len(panels))
    for panel, axis in zip(panels, axes, strict=True):
        values = [[table[cell][panel.metric].mean for cell in row] for row in panel.cells]
        everywhere = [n[panel.metric].mean for cell, n in table.items() if cell != "clean"]
        _draw(figure, axis, panel, values, _colours(panel.metric, everywhere))
    n = table["clean"][metrics[0]].n
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}, {n} pairs", fontsize=10)
    save(figure, path)


def subplots(size: tuple[float, float], rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure of this size (inches) and its axes below one another (an array of ``rows``).

    It is made without pyplot, which would choose how the whole process shows figures.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False, **options)[:, 0]


def save(figure: Any, path: Path) -> None:
    """Write a figure, without the date: the same numbers give the same file."""
    import matplotlib

    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "causaldsl", "svg.fonttype": "none"}):
        figure.savefig(path, dpi=150, metadata=undated.get(path.suffix, {}))


def _panels(sweep: SweepRecord, metrics: list[str]) -> list[_Panel]:
    (first, columns), *others = sweep.axes.items()
    shown = {axis: sweep.shown.get(axis, labels) for axis, labels in sweep.axes.items()}
    if not others:
        by_head = _layers_and_heads(columns)
        if by_head is None:
            cells = [[f"{arm}[{column}]" for column in columns] for arm in sweep.arms]
            return [_Panel(m, m, shown[first], sweep.arms, cells, first, "") for m in metrics]
        layers, heads = by_head
        cells_of = {
            arm: [[f"{arm}[{layer}.{head}]" for layer in layers] for head in heads]
            for arm in sweep.arms
        }
        return [
            _Panel(_title(arm, m), m, layers, heads, cells_of[arm], "layer", "head")
            for m in metrics
            for arm in sweep.arms
        ]
    rows, row_names = [""], [""]
    for axis, labels in others:
        rows = [f"{row}.{label}" for row in rows for label in labels]
        row_names = [f"{row} {label}".strip() for row in row_names for label in shown[axis]]
    joined = ", ".join(axis for axis, _ in others)
    return [
        _Panel(
            _title(arm, m),
            m,
            shown[first],
            row_names,
            [[f"{arm}[{column}{row}]" for column in columns] for row in rows],
            first,
            joined,
        )
        for m in metrics
        for arm in sweep.arms
    ]


def _title(arm: str, metric: str) -> str:
    return f"{arm}: {metric}" if arm else metric


def _layers_and_heads(labels: list[str]) -> tuple[list[str], list[str]] | None:
    """Layers and heads, if the labels are all heads of some layers."""
    if not all("." in label and label.replace(".", "").isdigit() for label in labels):
        return None
    layers = sorted({label.partition(".")[0] for label in labels}, key=int)
    heads = sorted({label.partition(".")[2] for label in labels}, key=int)
    return (layers, heads) if len(layers) * len(heads) == len(labels) else None


def _colours(metric: str, values: list[float]) -> dict[str, Any]:
    """The colour scale of a metric; that of a signed one is centred on 0."""
    if metric in _SIGNED:
        limit = max(max(abs(value) for value in values), 1e-9)
        return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    return {"cmap": "viridis", "vmin": min(0.0, *values), "vmax": max(1e-9, *values)}


def _draw(
    figure: Any, axis: Any, panel: _Panel, values: list[list[float]], colours: dict[str, Any]
) -> None:
    image = axis.imshow(values, aspect="auto", interpolation="nearest", **colours)
    axis.set_title(panel.title, fontsize=9, loc="left")
    axis.set_xlabel(panel.x_name, fontsize=8)
    axis.set_ylabel(panel.y_name, fontsize=8)
    step = max(1, len(panel.columns) // 32)
    axis.set_xticks(range(0, len(panel.columns), step), panel.columns[::step], fontsize=7)
    axis.set_yticks(range(len(panel.rows)), panel.rows, fontsize=7)
    axis.tick_params(length=2)
    bar = figure.colorbar(image, ax=axis, pad=0.01, fraction=0.05)
    bar.ax.tick_params(labelsize=7)
