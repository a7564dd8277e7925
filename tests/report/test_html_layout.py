"""report.html in headless Chromium: nothing is wider than a phone, in either theme, or on paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from causaldsl.cli import main
from tests.report.browser import chromium, found_by, in_frames, needs_browser

PROGRAMS = Path(__file__).parents[2] / "programs"
pytestmark = needs_browser

WIDTHS = (320, 360, 390, 768, 1280)
# The page is measured from outside: it has no script.
LOOK = """function look(frame) {
  const page = frame.contentDocument, root = page.documentElement;
  const style = (selector) => frame.contentWindow.getComputedStyle(page.querySelector(selector));
  const box = (selector) => page.querySelector(selector).getBoundingClientRect();
  const piece = [...page.querySelectorAll(".piece")].find(p => p.querySelector(".beside table"));
  const code = piece.querySelector("pre").getBoundingClientRect();
  const beside = piece.querySelector(".beside").getBoundingClientRect();
  const boxes = [...page.querySelectorAll(".scroll")];
  const claim = page.querySelector("ul.claims > li"), badge = claim.querySelector(".badge");
  const verdict = badge.innerHTML;
  badge.textContent = "? undecided";  // the longest
  const [mark, said] = [badge, claim.querySelector(".claim")].map(e => e.getBoundingClientRect());
  const apart = mark.right <= said.left || mark.bottom <= said.top;
  badge.innerHTML = verdict;
  const scrolling = boxes.filter(e => e.scrollWidth > e.clientWidth);
  return {
    apart: apart,
    wide: root.scrollWidth - root.clientWidth,
    below: beside.top >= code.bottom - 1,
    beside: beside.left >= code.right - 1,
    body: parseFloat(style("body").fontSize),
    ground: style("body").backgroundColor,
    ink: style("body").color,
    scrolls: scrolling.every(e => frame.contentWindow.getComputedStyle(e).overflowX === "auto"),
    cut: [...page.querySelectorAll("h1, h2, h3, p, .claim, .l, dd")].filter(
      e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map(e => e.textContent),
  };
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout")
    path = PROGRAMS / "toy_illusion.cpatch"
    assert main(["run", str(path), "--out", str(folder / "run")]) == 0
    (folder / "probe.html").write_text(in_frames(LOOK, folder / "run/report.html", WIDTHS))
    return folder


def measured(folder: Path, *arguments: str) -> dict[str, dict]:
    return found_by(folder, "probe.html", *arguments)


def test_no_width_scrolls_sideways_and_nothing_is_cut(folder: Path) -> None:
    found = measured(folder)
    assert set(found) == {str(width) for width in WIDTHS}
    for width, seen in found.items():
        assert seen["wide"] <= 0, width
        assert seen["scrolls"], width
        assert seen["apart"], width
        assert seen["cut"] == [], width
        assert seen["body"] >= 16, width
    for width in ("320", "360", "390", "768"):
        assert found[width]["below"], width
    assert found["1280"]["beside"]


def test_light_and_dark(folder: Path) -> None:
    def brightness(colour: str) -> int:
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    light = measured(folder, "--blink-settings=preferredColorScheme=1")["390"]
    dark = measured(folder, "--blink-settings=preferredColorScheme=0")["390"]
    assert brightness(light["ground"]) > 700 > 100 > brightness(light["ink"])
    assert brightness(dark["ground"]) < 100 < 600 < brightness(dark["ink"])


def test_it_prints(folder: Path) -> None:
    paper = folder / "report.pdf"
    page = (folder / "run/report.html").as_uri()
    chromium(folder, f"--print-to-pdf={paper}", "--no-pdf-header-footer", page)
    data = paper.read_bytes()
    assert data.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert 2 <= pages <= 20
