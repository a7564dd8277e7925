"""DOT to a picture: with Graphviz's `dot` where it is installed, else with `graphviz-pure`."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from causaldsl.diagnostics import RunFailure

_DPI = 200
"""Dots per inch of a PNG, so that it stays sharp at the width of a page's column."""


def render_dot(dot: str, path: Path) -> None:
    """Lay out DOT source and write the picture; its ending says the format: svg, png or pdf.

    A PDF is made from the SVG: text stays text, lines stay lines, and the same record gives the
    same picture in every format and with either program.

    Raises:
        RunFailure: if neither program is there, or the format is not one it can write.
    """
    if path.suffix == ".pdf":
        _write_pdf(picture_text(dot), path)
        return
    command = _dot_command()
    sharp = [f"-Gdpi={_DPI}"] if path.suffix == ".png" else []
    result = subprocess.run(
        [command, f"-T{path.suffix[1:]}", *sharp, f"-o{path}"],
        input=dot.encode(),
        capture_output=True,
        timeout=300,
        check=False,
    )
    if result.returncode != 0 or not path.is_file():
        reason = result.stderr.decode(errors="replace").strip().split("\n")[0]
        raise RunFailure(
            f"{Path(command).name} could not draw {path.name}: {reason}",
            "svg, png and pdf always work; other formats need Graphviz's own `dot`",
        )


def draw_dot(dot: str, path: Path) -> None:
    """Write the picture, and its DOT source beside it."""
    path.with_suffix(".dot").write_text(dot, "utf-8")
    render_dot(dot, path)


def picture_text(dot: str) -> str:
    """The picture as SVG text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        render_dot(dot, path)
        return path.read_text(encoding="utf-8")


def pdf_of_svg(svg: str) -> bytes:
    """An SVG picture as a PDF; equal pictures give equal files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.pdf"
        _write_pdf(svg, path)
        return path.read_bytes()


def _write_pdf(svg: str, path: Path) -> None:
    from reportlab.graphics import renderPDF
    from svglib.svglib import svg2rlg

    with _invariant(), tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "picture.svg"
        # PDF's own Helvetica has no minus sign; its en dash looks the same.
        source.write_text(svg.replace("\N{MINUS SIGN}", "\N{EN DASH}"), encoding="utf-8")
        drawing = svg2rlg(str(source))
        if drawing is None:
            raise RunFailure(f"could not draw {path.name}", "render it as svg or png")
        renderPDF.drawToFile(drawing, str(path), autoSize=1)


@contextmanager
def _invariant() -> Iterator[None]:
    """No date and no random document number, so that equal pictures are equal files; no warnings.

    Both libraries have switches for the whole process only: they are put back.
    """
    from reportlab import rl_config

    log = logging.getLogger("svglib")
    level, invariant = log.level, rl_config.invariant
    log.setLevel(logging.ERROR)
    rl_config.invariant = 1
    try:
        yield
    finally:
        log.setLevel(level)
        rl_config.invariant = invariant


def _dot_command() -> str:
    beside = Path(sys.executable).parent / "graphviz-pure"
    found = shutil.which("dot") or shutil.which("graphviz-pure")
    if found is None and beside.is_file():
        found = str(beside)
    if found is None:
        raise RunFailure("there is no `dot` to draw pictures with", "pip install graphviz-pure")
    return found
