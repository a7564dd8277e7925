"""What a column is, by the names that the field gives it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from causaldsl.check.readers.containers import Row, Rows
from causaldsl.diagnostics import Mistake, suggest
from causaldsl.vocabulary.makers import DataFile

NAMES: dict[str, tuple[str, ...]] = {
    "base": ("base", "clean", "clean_prefix", "clean_prompt", "base_string1"),
    "source": (
        "source", "patch_prefix", "corrupt", "corrupted", "corrupted_prompt", "base_string2",
    ),
    "answer": ("answer", "clean_answer", "answers"),
    "foil": ("foil", "patch_answer", "wrong_answers"),
    "classes": ("case", "class", "condition", "pattern"),
}  # fmt: skip
"""The names of the columns of each role, in lower case."""
PASSED = ("positions", "template", "cluster", "counterfactual_answer", "split")
"""Columns that mean the same in every form."""
FEW_CLASSES = 10
"""A `label` of at most so many values is a class, else an answer."""


class Unusable(Exception):
    """Why a row can't be used; ``shown`` is what of it a message lists, such as its answer."""

    def __init__(self, reason: str, shown: str = ""):
        super().__init__(reason)
        self.reason, self.shown = reason, shown


class Columns:
    """The columns of a file by their roles; options say which is which where names do not."""

    def __init__(self, rows: Rows, word: DataFile, written: str):
        self.names = dict.fromkeys(name for _, row in rows.rows for name in row)
        self.rows, self.word, self.written = rows, word, written
        self.used: dict[str, str] = {}

    def find(self, role: str) -> str | None:
        """The column of a role, which an option or its name says; None if there is none.

        Raises:
            Mistake: if the option names none, or several have such a name.
        """
        told = getattr(self.word, role)
        if told is not None:
            self._must_have(role, told)
            found = [told.lower()]
        else:
            found = [name for name in NAMES[role] if name in self.names]
            if role == "source":
                found += [n for n in self.names for f in found if n.startswith(f"{f}_")]
        if len(found) > 1:
            raise self.which(role, found)
        if found:
            self.used[role] = found[0]
        return found[0] if found else None

    def named_sources(self) -> dict[str, str]:
        """The columns that are sources with names, by what a program calls them.

        Raises:
            Mistake: if `sources` names another column, or one twice.
        """
        told = self.word.sources or ()
        if told and self.word.source is not None:
            message = "`source` and `sources` can't both be given"
            raise Mistake("bad-option", message, "the first of `sources` is the source too")
        for name in told:
            self._must_have("sources", name)
        found = {re.sub(r"\W", "_", name.lower()): name.lower() for name in told}
        if len(found) < len(told):
            raise Mistake("bad-option", "`sources` names a column twice", "name each once")
        self.used |= {f"source {name}": column for name, column in found.items()}
        return found

    def sources_by_name(self) -> tuple[str, ...]:
        """The names in a column `sources` that holds texts by their names, as JSON lines have it;
        none if there is no such column, or an option says what the sources are."""
        if self.word.sources or self.word.source is not None:
            return ()
        values = (row.get("sources") for _, row in self.rows.rows)
        first: Mapping[str, Any] = next((one for one in values if isinstance(one, Mapping)), {})
        if first:
            self.used["sources"] = "sources"
        return tuple(first)

    def _must_have(self, role: str, told: str) -> None:
        if told.split(".")[0].lower() not in self.names:
            message = f"{self.written} has no column `{told}` for `{role}`"
            raise Mistake("no-column", message, suggest(told, self.names, "columns"))

    def which(self, role: str, found: Sequence[str]) -> Mistake:
        shown = " and ".join(f"`{name}`" for name in found)
        return Mistake(
            "which-column",
            f"{self.written} has {shown}, and each could be the {role}",
            f'say which: dataset("{self.written}", {role}: "{found[0]}")',
        )

    def values(self, name: str) -> set[str]:
        return {str(row.get(name)) for _, row in self.rows.rows}

    def classes(self) -> str | None:
        """The column of classes: by its name, or a `label` of few values."""
        found = self.find("classes")
        if found is None and "label" in self.names and len(self.values("label")) <= FEW_CLASSES:
            found = self.used["classes"] = "label"
        return found

    def label(self) -> str | None:
        """`label`, where it has too many values for a class: an answer."""
        many = "label" in self.names and len(self.values("label")) > FEW_CLASSES
        return "label" if many and "label" not in self.used.values() else None

    @property
    def ids(self) -> str | None:
        """A column of token ids of another tokenizer."""
        return next((name for name in self.names if name.endswith("_idx")), None)


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """A column's value; `target.str` is a field of an object."""
    found: Any = row.get(name)
    if found is None and "." in name:
        first, rest = name.split(".", 1)
        inner = row.get(first)
        return value_of(inner, rest) if isinstance(inner, Mapping) else None
    return found


def texts_of(row: Row, name: str, role: str) -> str | list[str]:
    """A column's text, or its texts where it is a list of several.

    Raises:
        Unusable: if there is none.
    """
    value = value_of(row, name)
    if not isinstance(value, list | tuple) or len(value) < 2:
        return text_of(row, name, role)
    return [text_of({name: one}, name, role) for one in value]


def named_texts_of(row: Row, name: str, role: str) -> dict[str, str]:
    """A column's texts by their names.

    Raises:
        Unusable: if there are none.
    """
    found = row.get(name)
    if not isinstance(found, Mapping) or not found:
        raise Unusable(f"have no {role}s by their names")
    return {one: text_of(dict(found), one, role) for one in found}


def text_of(row: Row, name: str, role: str) -> str:
    """A column's text: numbers as they are written, a list's only member.

    Raises:
        Unusable: if there is none, or several.
    """
    value = value_of(row, name)
    if isinstance(value, list | tuple):
        if len(value) != 1:
            raise Unusable(f"have {len(value)} texts as {role}")
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise Unusable(f"have no {role}")
    return value if isinstance(value, str) else f"{value:g}" if value % 1 else str(int(value))
