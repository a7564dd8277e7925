"""Tables over two variables that are no numbers, as heatmaps: a head's attention, query by key."""

from pathlib import Path

import pytest

from causaldsl.report import heatmaps
from causaldsl.report.heatmaps import is_grid, plot_grid
from causaldsl.results.records import Results, TableRecord


def table(axes: dict[str, list[str]]) -> TableRecord:
    names = [f"{q}.{k}" for q in axes["q"] for k in axes.get("k", [""])]
    return TableRecord(axes=axes, cells={"share": {n: i / 10 for i, n in enumerate(names)}})


def test_which_tables_are_grids() -> None:
    assert is_grid(table({"q": ["S2", "END"], "k": ["IO", "END-1"]}))
    assert not is_grid(table({"q": ["S2", "END"], "k": ["1", "2"]}))
    assert not is_grid(table({"q": ["S2", "END"]}))


def test_rows_are_queries_and_columns_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(heatmaps, "_draw", lambda figure, axis, *rest: seen.append(rest))
    made = table({"q": ["S2", "END"], "k": ["IO", "S2", "END"]})
    results = Results.model_construct(tables={"t": made}, provenance={"model": "m"})
    plot_grid(results, "t", tmp_path / "t.svg")
    ((panel, values, colours),) = seen
    assert (panel.rows, panel.columns) == (["S2", "END"], ["IO", "S2", "END"])
    assert values == [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]
    assert (colours["vmin"], colours["vmax"]) == (0.0, 0.5)
    assert (tmp_path / "t.svg").is_file()
