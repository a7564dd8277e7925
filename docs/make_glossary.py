"""Writes the table in docs/glossary.md from the vocabulary.

python docs/make_glossary.py
"""

from __future__ import annotations

from pathlib import Path

from marked import with_part

from causaldsl.discovery import import_all
from causaldsl.vocabulary.foreign import also_called
from causaldsl.vocabulary.sites import SITE_WORDS

PAGE = Path(__file__).parent / "glossary.md"


def page(text: str) -> str:
    """The page with its table made anew."""
    return with_part(text, "names", table())


def table() -> str:
    """Sites with their hooks in TransformerLens, then all other words that have several names."""
    import_all("causaldsl.vocabulary")
    others = also_called()
    lines = ["| Here | TransformerLens | Elsewhere also |", "|---|---|---|"]
    for word, site in SITE_WORDS.items():
        hook = f"`{site.hook}`" if site.hook else ""
        lines.append(f"| `{site.form}` | {hook} | {_spellings(others.pop(word, ()))} |")
    lines += [f"| `{word}` | | {_spellings(names)} |" for word, names in others.items()]
    return "\n".join(lines)


def _spellings(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), encoding="utf-8")
