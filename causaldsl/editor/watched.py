"""Dictionaries and sets that note what a statement looks up in them, and what it writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

MISSING = object()
_WHOLE = object()


class _Watched(Protocol):
    notes: Notes | None

    def peek(self, key: Any) -> Any:
        """What stands under a key, without a note."""

    def put(self, key: Any, value: Any) -> None:
        """Write, without a note; `MISSING` takes the key out."""


@dataclass
class Notes:
    """What was looked up and found, but for what was written just before; and what was written."""

    looks: list[tuple[_Watched, Any, list[Any]]] = field(default_factory=list)
    writes: list[tuple[_Watched, Any, Any]] = field(default_factory=list)
    written: set[tuple[int, Any]] = field(default_factory=set)

    def hold(self) -> bool:
        """Whether every look would find the same again."""
        return all(
            len(now := self._found(where, key)) == len(then)
            and all(a is b for a, b in zip(now, then, strict=True))
            for where, key, then in self.looks
        )

    def again(self) -> None:
        """Write the same again."""
        for where, key, value in self.writes:
            where.put(key, value)

    def look(self, where: _Watched, key: Any) -> None:
        if (id(where), key) not in self.written:
            self.looks.append((where, key, self._found(where, key)))

    def write(self, where: _Watched, key: Any, value: Any) -> None:
        self.written.add((id(where), key))
        self.writes.append((where, key, value))

    def _found(self, where: _Watched, key: Any) -> list[Any]:
        """What is there, to be compared by identity: equal values may come from other places."""
        if key is not _WHOLE:
            return [where.peek(key)]
        keys = [one for one in where.peek(_WHOLE) if (id(where), one) not in self.written]
        return [part for one in keys for part in (one, where.peek(one))]


class WatchedDict(dict[Any, Any]):
    """A dictionary. Looking at all of it depends on all of it."""

    notes: Notes | None = None
    followed = True
    """Whether looks are noted at all."""

    def peek(self, key: Any) -> Any:
        return list(dict.keys(self)) if key is _WHOLE else dict.get(self, key, MISSING)

    def put(self, key: Any, value: Any) -> None:
        if value is MISSING:
            dict.pop(self, key, None)
        else:
            dict.__setitem__(self, key, value)

    def _look(self, key: Any) -> Any:
        if self.notes is not None and self.followed:
            self.notes.look(self, key)
        return self.peek(key)

    def __getitem__(self, key: Any) -> Any:
        found = self._look(key)
        if found is MISSING:
            raise KeyError(key)
        return found

    def get(self, key: Any, default: Any = None) -> Any:
        found = self._look(key)
        return default if found is MISSING else found

    def __contains__(self, key: object) -> bool:
        return self._look(key) is not MISSING

    def __iter__(self) -> Iterator[Any]:
        return iter(self._look(_WHOLE))

    def keys(self) -> Any:
        self._look(_WHOLE)
        return dict.keys(self)

    def values(self) -> Any:
        self._look(_WHOLE)
        return dict.values(self)

    def items(self) -> Any:
        self._look(_WHOLE)
        return dict.items(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.notes is not None:
            self.notes.write(self, key, value)
        self.put(key, value)

    def pop(self, key: Any, *default: Any) -> Any:
        found = dict.get(self, key, *default)
        self[key] = MISSING
        return found

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self.peek(key)

    def update(self, other: Any = (), /, **more: Any) -> None:
        for key, value in dict(other, **more).items():
            self[key] = value


class WatchedSet(set[Any]):
    """A set, with the ways to change it that the checker uses."""

    notes: Notes | None = None

    def peek(self, key: Any) -> Any:
        if key is _WHOLE:
            return list(set.__iter__(self))
        return set.__contains__(self, key) or MISSING

    def put(self, key: Any, value: Any) -> None:
        set.add(self, key)

    def __contains__(self, item: object) -> bool:
        if self.notes is not None:
            self.notes.look(self, item)
        return set.__contains__(self, item)

    def add(self, item: Any) -> None:
        if self.notes is not None:
            self.notes.write(self, item, True)
        self.put(item, True)

    def update(self, *others: Iterable[Any]) -> None:
        for other in others:
            for item in other:
                self.add(item)

    def __ior__(self, other: Any) -> WatchedSet:  # type: ignore[misc]
        self.update(other)
        return self
