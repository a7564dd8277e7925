"""Writes the table in docs/models.md from the descriptions of families.

python docs/make_models.py
"""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path

from marked import with_part

from causaldsl.model.families.summary import Row, rows

PAGE = Path(__file__).parent / "models.md"


def page(text: str) -> str:
    """The page with its table made anew."""
    return with_part(text, "families", table())


def table() -> str:
    names = [field.name for field in fields(Row)]
    lines = [names, ["---"] * len(names), *(list(astuple(row)) for row in rows())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
