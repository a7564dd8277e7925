"""Writes docs/reference.md from the vocabulary. Run it after changing a word.

python docs/make_reference.py
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

from causaldsl.vocabulary.audits import Illusion
from causaldsl.vocabulary.base import BUILT_IN, Word, load_vocabulary
from causaldsl.vocabulary.matrices import MATRIX_WORDS
from causaldsl.vocabulary.metrics import METRICS
from causaldsl.vocabulary.sites import SITE_WORDS
from causaldsl.vocabulary.statements import STATEMENTS


def reference() -> str:
    """The reference page."""
    load_vocabulary()
    lines = ["# Reference", "", "Made from the vocabulary by `docs/make_reference.py`.", ""]
    lines += ["## Statements", ""]
    lines += ["`[..]` may be left out, `|` is a choice; [language.md](language.md) explains each."]
    lines.append("")
    for statement in STATEMENTS.values():
        lines += [f"- `{statement.form}`<br>{statement.doc}"]
    lines += ["", "## Sites", "", "| Word | Index | Width | |", "|---|---|---|---|"]
    indices = {"none": "", "layer": "layer", "head": "layer.head", "kv_head": "layer.kv head"}
    lines += [
        f"| `{s.form}` | {indices[s.index]} | {s.width} | {s.doc} |" for s in SITE_WORDS.values()
    ]
    lines += ["", "## Matrices", "", "| Word | Index | From, to | |", "|---|---|---|---|"]
    lines += [
        f"| `{m.word}` | {indices[m.index]} | {m.inputs}, {m.outputs} | {m.doc} |"
        for m in MATRIX_WORDS.values()
    ]
    lines += ["", "## Metrics", "", "| Word | Unit | |", "|---|---|---|"]
    lines += [f"| `{m.word}` | {m.unit} | {m.doc} |" for m in METRICS.values()]
    lines += ["", "## Interventions", ""]
    for cls in BUILT_IN.interventions.values():
        lines += _entry(cls, cls.word)
    lines += ["## Functions", ""]
    lines += _entries(BUILT_IN.functions)
    lines += ["## Data, and sites that are calls", "", *_entries(BUILT_IN.makers)]
    lines += ["## Audits", "", *_entry(Illusion, Illusion.signature())]
    return "\n".join(lines).rstrip() + "\n"


def _entries(table: Mapping[str, type[Word]]) -> list[str]:
    """The entries of a table of words, by their spelling."""
    return [line for word in sorted(table) for line in _entry(table[word], table[word].signature())]


def _entry(cls: type[Word], title: str) -> list[str]:
    return [f"### `{title}`", "", inspect.cleandoc(cls.__doc__ or "").replace("``", "`"), ""]


if __name__ == "__main__":
    path = Path(__file__).parent / "reference.md"
    path.write_text(reference(), encoding="utf-8")
