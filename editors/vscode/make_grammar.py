"""Writes the extension's TextMate grammar from the terminals and words of the language.

python editors/vscode/make_grammar.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from causaldsl.vocabulary.colours import keywords, patterns, vocabulary

PATH = Path(__file__).parent / "syntaxes" / "cpatch.tmLanguage.json"
SCOPE = "source.cpatch"


def grammar() -> dict[str, Any]:
    """The grammar as data."""
    known = patterns()
    rules: list[dict[str, Any]] = [
        {"match": known["COMMENT"], "name": f"comment.line.number-sign.{_SUFFIX}"},
        {
            "match": known["STRING"],
            "name": f"string.quoted.double.{_SUFFIX}",
            "captures": {"0": {"patterns": _IN_TEXTS}},
        },
        {"match": rf"\b{known['NUMBER']}", "name": f"constant.numeric.{_SUFFIX}"},
        {"match": _any_of(keywords()), "name": f"keyword.control.{_SUFFIX}"},
        {"match": _any_of(vocabulary()), "name": f"support.function.{_SUFFIX}"},
        {"match": known["NAME"], "name": f"variable.other.{_SUFFIX}"},
    ]
    return {
        "name": "causaldsl",
        "scopeName": SCOPE,
        "fileTypes": ["cpatch"],
        "patterns": rules,
    }


_SUFFIX = "cpatch"
_IN_TEXTS = [
    {"match": r"\\.", "name": f"constant.character.escape.{_SUFFIX}"},
    {"match": r"\{[A-Za-z_][A-Za-z0-9_.]*\}", "name": f"variable.parameter.{_SUFFIX}"},
]


def _any_of(words: frozenset[str]) -> str:
    return rf"\b(?:{'|'.join(sorted(words))})\b"


def text() -> str:
    """The grammar's file."""
    return json.dumps(grammar(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
