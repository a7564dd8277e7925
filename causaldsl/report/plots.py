"""Sweeps as heatmaps, one panel for each arm and metric; a sweep over one variable is one row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from causaldsl.results.records import Results

_DIVERGING = {"fldd", "logit_diff", "output"}


def plot_sweep(results: Results, name: str, path: Path) -> None:
    """Draw a sweep's metrics and write the picture; its ending says the format.

    The first loop variable runs along x; the second, if any, along y; further ones are joined
    with it. Colours of signed metrics are centred on 0.
    """
    import matplotlib

    matplotlib.use("Agg")
    # Fixed, so that the same numbers give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "causaldsl"
    matplotlib.rcParams["svg.fonttype"] = "none"
    import matplotlib.pyplot as plt

    sweep, table = results.sweeps[name], results.measures[name]
    metrics = list(next(iter(table.values())))
    panels = [(arm, metric) for metric in metrics for arm in sweep.arms]
    columns, rows = _grid(sweep.axes)
    width = min(14.0, 2.2 + 0.28 * len(columns))
    height = 0.9 + 0.28 * max(len(rows), 2)
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(width, 0.5 + height * len(panels)),
        squeeze=False,
        layout="constrained",
    )
    for (arm, metric), axis in zip(panels, axes[:, 0], strict=True):
        values = [
            [table[_cell(arm, column, row)][metric].mean for column in columns] for row in rows
        ]
        _panel(figure, axis, values, metric, sweep.axes, columns, rows)
        axis.set_title(f"{arm + ': ' if arm else ''}{metric}", fontsize=9, loc="left")
    n = next(iter(table.values()))[metrics[0]].n
    figure.suptitle(f"{name}, {results.provenance.get('model', '')}, {n} pairs", fontsize=10)
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    if path.suffix == ".pdf":
        metadata = {"CreationDate": None}
    figure.savefig(path, dpi=150, metadata=metadata)
    plt.close(figure)


def _grid(axes: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """Labels along x, and along y: the first variable, and all others joined."""
    first, *others = axes.values()
    rows = [""]
    for labels in others:
        rows = [f"{row}.{label}" if row else label for row in rows for label in labels]
    if not others and all("." in label for label in first):
        # One variable over heads: layer along x, head along y.
        layers = sorted({label.partition(".")[0] for label in first}, key=int)
        heads = sorted({label.partition(".")[2] for label in first}, key=int)
        if len(layers) * len(heads) == len(first):
            return layers, heads
    return list(first), rows


def _cell(arm: str, column: str, row: str) -> str:
    return f"{arm}[{'.'.join(part for part in (column, row) if part)}]"


def _panel(
    figure: Any, axis: Any, values: list[list[float]], metric: str, axes: dict[str, list[str]],
    columns: list[str], rows: list[str],
) -> None:  # fmt: skip
    flat = [value for line in values for value in line]
    if metric in _DIVERGING:
        limit = max(max(abs(v) for v in flat), 1e-9)
        colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    else:
        colours = {"cmap": "viridis", "vmin": min(0.0, *flat), "vmax": max(1e-9, *flat)}
    image = axis.imshow(values, aspect="auto", interpolation="nearest", **colours)
    names = list(axes)
    by_head = len(names) == 1 and rows != [""]
    axis.set_xlabel("layer" if by_head else names[0], fontsize=8)
    axis.set_ylabel("head" if by_head else ", ".join(names[1:]), fontsize=8)
    step = max(1, len(columns) // 32)
    axis.set_xticks(range(0, len(columns), step), columns[::step], fontsize=7)
    axis.set_yticks(range(len(rows)), rows, fontsize=7)
    axis.tick_params(length=2)
    bar = figure.colorbar(image, ax=axis, pad=0.01, fraction=0.05)
    bar.ax.tick_params(labelsize=7)
