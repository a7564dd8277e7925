"""Writes the table of rooms in docs/architecture.md from the first lines of the packages.

python docs/make_architecture.py
"""

from __future__ import annotations

import ast
from pathlib import Path

from marked import with_part

ROOT = Path(__file__).parents[1] / "causaldsl"
PAGE = Path(__file__).parent / "architecture.md"


def page(text: str) -> str:
    """The page with its table made anew."""
    return with_part(text, "rooms", table())


def table() -> str:
    """Each folder of the package with what the first line of its docstring says."""
    lines = ["| Folder | What is in it |", "|---|---|"]
    for init in sorted(ROOT.glob("**/__init__.py")):
        folder = init.parent
        if folder != ROOT:
            said = (ast.get_docstring(ast.parse(init.read_text("utf-8"))) or "").splitlines()[0]
            lines.append(f"| `{folder.relative_to(ROOT).as_posix()}` | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), encoding="utf-8")
