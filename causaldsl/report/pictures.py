"""DOT to a picture: with Graphviz's `dot` where it is installed, else with `graphviz-pure`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from causaldsl.diagnostics import RunFailure


def render_dot(dot: str, path: Path) -> None:
    """Lay out DOT source and write the picture; its ending says the format.

    Raises:
        RunFailure: if neither program is there, or the format is not one it can write.
    """
    command = _dot_command()
    result = subprocess.run(
        [command, f"-T{path.suffix[1:]}", f"-o{path}"],
        input=dot.encode(),
        capture_output=True,
        timeout=300,
        check=False,
    )
    if result.returncode != 0 or not path.is_file():
        reason = result.stderr.decode(errors="replace").strip().split("\n")[0]
        raise RunFailure(
            f"{Path(command).name} could not draw {path.name}: {reason}",
            "svg and png always work; other formats need Graphviz's own `dot`",
        )


def picture_text(dot: str) -> str:
    """The picture as SVG text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        render_dot(dot, path)
        return path.read_text(encoding="utf-8")


def _dot_command() -> str:
    beside = Path(sys.executable).parent / "graphviz-pure"
    found = shutil.which("dot") or shutil.which("graphviz-pure")
    if found is None and beside.is_file():
        found = str(beside)
    if found is None:
        raise RunFailure("there is no `dot` to draw pictures with", "pip install graphviz-pure")
    return found
