"""Writes docs/library.md from the programs of programs/library. Run it after changing one.

python docs/make_library.py
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "programs" / "library"
_HEAD = """# Library

For a well-known experiment to start from: short programs, with claims that hold for
SmolLM2-135M-Instruct or say otherwise when they are run. The experiments on the illusion are in
[experiments](experiments/README.md). `--set model=...` gives a program another model; its data
lie beside it. Made by `docs/make_library.py`.

| Program | Lines | What it asks |
|---|---|---|
"""


def library() -> str:
    """The page: each program with its lines, and what its first comment says."""
    rows = []
    for path in sorted(FOLDER.glob("*.cpatch")):
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = takewhile(lambda line: line.startswith("#"), lines)
        said = " ".join(line.lstrip("# ") for line in comment)
        link = f"[{path.stem}](../programs/library/{path.name})"
        rows.append(f"| {link} | {len(lines)} | {said} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    (ROOT / "docs" / "library.md").write_text(library(), encoding="utf-8")
