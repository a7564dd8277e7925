"""Writes docs/reference.md from the vocabulary. Run it after changing a word.

python docs/make_reference.py

With the name of an installed package, it prints the reference of that package's words.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

from causaldsl.check.statements.use import GROUP
from causaldsl.discovery import import_all
from causaldsl.vocabulary.audits import Illusion
from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.generation import TEXT_METRICS
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.register import BUILT_IN, PACKAGES, Vocabulary
from causaldsl.vocabulary.sites import SITE_WORDS
from causaldsl.vocabulary.statements import STATEMENTS
from causaldsl.vocabulary.warnings import WARNINGS

_INTRODUCTION = (
    "For looking up a word: its options, what it takes and gives. What statements mean, with",
    "examples, is in [language.md](language.md), terms in [glossary.md](glossary.md).",
    "Made from the vocabulary by `docs/make_reference.py`.",
)


def reference() -> str:
    """The reference page."""
    import_all("causaldsl.vocabulary")
    lines = ["# Reference", "", *_INTRODUCTION, ""]
    lines += ["## Statements", ""]
    lines += ["`[..]` may be left out, `|` is a choice; [language.md](language.md) explains each."]
    lines.append("")
    for statement in STATEMENTS.values():
        lines += [f"- `{statement.form}`<br>{statement.doc}"]
    lines += ["", "## Sites", "", "| Word | Index | Width | |", "|---|---|---|---|"]
    indices = {"none": "", "layer": "layer", "head": "layer.head", "kv_head": "layer.kv head"}
    lines += [
        f"| `{s.form}` | {indices[s.index]} | {s.width} | {_cell(s.doc)} |"
        for s in SITE_WORDS.values()
    ]
    lines += ["", "## Matrices", "", "| Word | Index | From, to | |", "|---|---|---|---|"]
    lines += [
        f"| `{m.word}` | {indices[m.index]} | {m.inputs}, {m.outputs} | {_cell(m.doc)} |"
        for m in MATRIX_WORDS.values()
    ]
    lines += ["", *_words(BUILT_IN)]
    lines += ["## Numbers of texts", "", "In the report of a `generate`.", ""]
    lines += ["| Word | Unit | |", "|---|---|---|"]
    lines += [f"| `{m.form()}` | {m.unit} | {_cell(m.__doc__)} |" for m in TEXT_METRICS.values()]
    lines += ["", "## Audits", "", *_entry(Illusion, Illusion.signature())]
    lines += ["## Warnings", "", "`allow NAME` in a program turns one off.", ""]
    lines += ["| Name | |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(doc)} |" for name, doc in WARNINGS.items()]
    return "\n".join(lines).rstrip() + "\n"


def reference_of(name: str, words: Vocabulary) -> str:
    """The reference of a package's words."""
    return "\n".join([f"# {name} {words.version}", "", *_words(words)]).rstrip() + "\n"


def _words(words: Vocabulary) -> list[str]:
    lines = ["## Metrics", "", "| Word | Unit | |", "|---|---|---|"]
    lines += [f"| `{m.word}` | {m.unit} | {_cell(m.doc)} |" for m in words.metrics.values()]
    lines += ["", "## Interventions", ""]
    for _, cls in sorted(words.interventions.items()):
        lines += _entry(cls, cls.word)
    lines += ["## Functions", ""]
    lines += _entries(words.functions)
    return [*lines, "## Data, and sites that are calls", "", *_entries(words.makers)]


def _cell(text: str | None) -> str:
    """A docstring in one cell of a table, which can't hold a line's end."""
    paragraphs = inspect.cleandoc(text or "").replace("``", "`").split("\n\n")
    return "<br>".join(" ".join(one.split()) for one in paragraphs)


def _entries(table: Mapping[str, type[Word]]) -> list[str]:
    """The entries of a table of words, by their spelling."""
    return [line for word in sorted(table) for line in _entry(table[word], table[word].signature())]


def _entry(cls: type[Word], title: str) -> list[str]:
    return [f"### `{title}`", "", inspect.cleandoc(cls.__doc__ or "").replace("``", "`"), ""]


def _print_package(name: str) -> None:
    (point,) = entry_points(group=GROUP, name=name)
    point.load()
    print(reference_of(name, PACKAGES[point.module.partition(".")[0]]), end="")


if __name__ == "__main__":
    if sys.argv[1:]:
        _print_package(sys.argv[1])
    else:
        path = Path(__file__).parent / "reference.md"
        path.write_text(reference(), encoding="utf-8")
