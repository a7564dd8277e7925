"""The page's script in headless Chromium: it explores pathways and sorts tables; no other runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from causaldsl.check.program import check_file
from causaldsl.cli import main
from causaldsl.graph.compiler import compile_program
from causaldsl.report.bars import plot_bars
from causaldsl.report.page.build import report_html
from causaldsl.report.pathways.draw import trace_dot
from causaldsl.report.pictures import draw_dot
from causaldsl.report.view import View
from causaldsl.results.records import Results
from tests.report.browser import found_by, in_frames, needs_browser
from tests.report.synthetic import trace

PROGRAMS = Path(__file__).parents[2] / "programs"

pytestmark = needs_browser

TRACED = trace(9, positions=("S2", "END"), dormant=3)
# The page is driven from outside, in a frame as wide as a phone and one as wide as a screen.
WIDTHS = (360, 1280)
LOOK = """const shares = (edges) => edges.filter(e => !e.classList.contains("off")).length;
function look(frame) {
  const page = frame.contentDocument, view = frame.contentWindow;
  const figure = page.querySelector("figure.pathways");
  const bar = figure.querySelector(".explore"), told = bar.querySelector("output");
  const edges = [...figure.querySelectorAll("[data-from]")];
  const nodes = [...figure.querySelectorAll("[data-component]")];
  const [range, check] = bar.querySelectorAll("input");
  const event = (name, more) => new view.KeyboardEvent(name, { bubbles: true, ...more });
  const out = { edges: edges.length, nodes: nodes.length, at_first: shares(edges) };
  edges[0].dispatchEvent(new view.MouseEvent("mouseenter"));
  out.told = told.textContent;
  range.value = 20; range.dispatchEvent(new view.Event("input"));
  out.above = shares(edges); out.says = told.textContent;
  range.value = 0; range.dispatchEvent(new view.Event("input"));
  check.checked = true; check.dispatchEvent(new view.Event("input"));
  out.dormant = shares(edges);
  figure.dispatchEvent(event("keydown", { key: "Escape" }));
  out.again = shares(edges); out.unchecked = check.checked;
  const node = nodes.find(n => n.dataset.component === "COMPONENT");
  node.focus(); out.focused = page.activeElement === node; out.of_node = told.textContent;
  node.dispatchEvent(event("keydown", { key: "Enter" }));
  out.ways = edges.filter(e => !e.classList.contains("off"))
    .map(e => `${e.dataset.from}->${e.dataset.to}`).sort();
  out.pressed = node.getAttribute("aria-pressed");
  node.dispatchEvent(new view.MouseEvent("click", { bubbles: true }));
  out.released = shares(edges);
  out.bar_wide = bar.scrollWidth > bar.clientWidth + 1;
  out.page_wide = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  const table = [...page.querySelectorAll("#traces-NAME table")].at(-1);
  const column = () => [...table.tBodies[0].rows].map(row => row.cells[1].textContent);
  const sort = table.querySelectorAll("thead .sort")[1];
  sort.click(); out.down = column();
  out.sorted = sort.closest("th").getAttribute("aria-sort");
  sort.click(); out.up = column();
  out.filter = view.getComputedStyle(figure.querySelector("svg")).filter;
  const cell = page.querySelector(".areas .said"), plot = cell.closest("figure");
  cell.dispatchEvent(new view.PointerEvent("pointerenter"));
  out.pointed = [plot.querySelector(".told").textContent, cell.querySelector("title").textContent];
  out.hostile = view.hostile === undefined;
  return out;
}
"""


def component() -> str:
    """One that has something before it and behind it."""
    senders, receivers = ({getattr(e, end) for e in shown()} for end in ("sender", "receiver"))
    return next(node.id for node in TRACED.components if node.id in senders & receivers)


def shown() -> list[Any]:
    return [edge for edge in TRACED.edges if edge.shown]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy's report, with a trace in the place of one of its measures' records."""
    folder = tmp_path_factory.mktemp("explore")
    path = PROGRAMS / "toy_illusion.cpatch"
    assert main(["run", str(path), "--out", str(folder / "run")]) == 0
    results = Results.model_validate_json((folder / "run/results.json").read_text())
    name = list(results.measures)[1]  # the first one has a picture of its own
    draw_dot(trace_dot(TRACED, name, "toy"), folder / f"run/{name}.svg")
    plot_bars(results, "one_to_two", folder / "run/hidden.svg")  # a plot with areas
    program = check_file(path)
    traced = results.model_copy(update={"traces": {name: TRACED}})
    page = report_html(View(program, compile_program(program), traced, folder / "run"))
    # What a page must never hold stands in this one: the page's own policy stops it.
    hostile = '<script>window.hostile = 1</script><img src="x" onerror="window.hostile = 1">'
    (folder / "page.html").write_text(page.replace("</main>", f"{hostile}</main>"))
    look = LOOK.replace("COMPONENT", component()).replace("NAME", name)
    (folder / "driver.html").write_text(in_frames(look, folder / "page.html", WIDTHS))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, Any]]:
    return found_by(folder, "driver.html")


def test_a_plot_says_what_is_pointed_at(found: dict[str, dict[str, Any]]) -> None:
    told, title = found["1280"]["pointed"]
    assert told == title
    assert told.startswith("clean: ")


@pytest.mark.parametrize("width", ["360", "1280"])
def test_pathways_are_explored(width: str, found: dict[str, dict[str, Any]]) -> None:
    seen, edges = found[width], shown()
    assert isinstance(seen, dict), seen
    assert seen["edges"] == seen["at_first"] == seen["again"] == len(edges)
    assert seen["nodes"] == len(TRACED.nodes)
    assert "of the effect (" in seen["told"]
    assert re.search(r"\[.+, .+\]", seen["told"])
    above = sum(abs(edge.share) >= 0.2 for edge in edges)
    assert 0 < above < len(edges)
    assert seen["above"] == above
    assert seen["says"] == f"{above} of {len(edges)} edges"
    assert seen["dormant"] == sum(edge.dormant for edge in edges) > 0
    assert seen["unchecked"] is False
    assert seen["focused"] is True
    assert seen["of_node"].startswith(component())
    assert seen["pressed"] == "true"
    assert seen["released"] == len(edges)


def test_ways_through_a_component(found: dict[str, dict[str, Any]]) -> None:
    graph = nx.DiGraph([(edge.sender, edge.receiver) for edge in shown()])
    before = nx.ancestors(graph, component()) | {component()}
    after = nx.descendants(graph, component()) | {component()}
    wanted = {f"{a}->{b}" for a, b in graph.edges if b in before or a in after}
    assert 1 < len(wanted) < len(shown())
    assert found["1280"]["ways"] == sorted(wanted)


@pytest.mark.parametrize("width", ["360", "1280"])
def test_tables_are_sorted(width: str, found: dict[str, dict[str, Any]]) -> None:
    seen = found[width]
    numbers = [float(re.match(r"[−\d.]+", cell)[0].replace("−", "-")) for cell in seen["down"]]  # type: ignore[index]
    assert len(set(numbers)) > 2
    assert numbers == sorted(numbers, reverse=True)
    assert sorted(seen["up"]) == sorted(seen["down"])
    assert seen["sorted"] == "descending"


def test_it_fits_a_phone_and_runs_nothing_else(found: dict[str, dict[str, Any]]) -> None:
    for seen in found.values():
        assert seen["page_wide"] <= 0
        assert not seen["bar_wide"]
        assert seen["hostile"]


def test_pictures_follow_the_dark_theme(folder: Path, found: dict[str, dict[str, Any]]) -> None:
    assert found["1280"]["filter"] == "none"
    dark = found_by(folder, "driver.html", "--blink-settings=preferredColorScheme=0")
    assert "invert" in dark["1280"]["filter"]
