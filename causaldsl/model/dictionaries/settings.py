"""The configuration of a dictionary, and how to say what of it is not understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from causaldsl.diagnostics import Mistake

_WAY = "docs/dictionaries.md lists the layouts and architectures that are read"


@dataclass(frozen=True)
class Settings:
    """What a file of JSON says."""

    path: Path
    values: Mapping[str, Any]

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def with_part(self, key: str) -> Settings:
        """With what stands one level deeper in the same place."""
        part = self.values.get(key)
        return replace(self, values={**self.values, **(part if isinstance(part, dict) else {})})

    def part(self, key: str) -> Settings:
        """What stands one level deeper."""
        part = self.values.get(key)
        if not isinstance(part, dict):
            raise self.refused(f"it has no object `{key}`")
        return replace(self, values=part)

    def listed(self, key: str) -> Mapping[str, Any]:
        """An object that may be left out."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.refused(f"`{key}` is {str(value)[:50]!r}, not an object")
        return value or {}

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refused(f"`{key}` is {value!r}, not true or false")
        return default if value is None else value

    def count(self, key: str) -> int:
        """A size that must be there."""
        return self.whole(key, self.values.get(key), 2**24)

    def whole(self, key: str, value: Any, most: int) -> int:
        """A whole number from 1 to a largest one."""
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            said = "is missing" if value is None else f"is {str(value)[:50]}"
            raise self.refused(f"`{key}` {said}, and a whole number from 1 to {most} is wanted")
        return value

    def unknown(self, key: str, value: Any, known: Iterable[str]) -> Mistake:
        """The mistake for a value that is not understood."""
        listed = ", ".join(known)
        return self.refused(f"its `{key}` is {str(value)[:50]!r}; known are {listed}")

    def not_understood(self, key: str) -> Mistake:
        return self.refused(f"it says `{str(key)[:50]}`, which is not understood here")

    def refused(self, reason: str, way: str = _WAY) -> Mistake:
        where = f"{self.path.parent.name}/{self.path.name}"
        return Mistake("bad-dictionary", f"{where} can't be used: {reason}", way)
