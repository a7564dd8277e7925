"""What a `pairs` statement names: one set of pairs, or its parts for training and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from causaldsl.check.kinds import Value
from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import Span, wrong
from causaldsl.syntax import ast


@dataclass(frozen=True)
class PairFamily(Value):
    """What a `pairs` statement names: parts `train` and `test`, or only the whole."""

    kind = "pairs"
    name: str
    train: PairSet | None = None
    test: PairSet | None = None
    whole: PairSet | None = None
    named_at: tuple[tuple[str, Span], ...] = field(default=(), compare=False)
    """The named sources that the statement writes, and where."""

    @property
    def parts(self) -> dict[str, PairSet]:
        named = {"train": self.train, "test": self.test}
        return {name: pairs for name, pairs in named.items() if pairs is not None}

    @property
    def sets(self) -> list[PairSet]:
        """All of its sets: its parts, or the whole."""
        return [one for one in (*self.parts.values(), self.whole) if one is not None]

    @property
    def sources(self) -> dict[str, None]:
        """The names that sources have in any of its sets."""
        return {name: None for one in self.sets for name in one.sources}

    def part(self, node: ast.Attribute) -> Any:
        if node.name.text in self.parts:
            return self.parts[node.name.text]
        raise wrong(
            "no-part",
            f"pairs `{self.name}` have no part `{node.name.text}`",
            node.name.span,
            f"parts: {', '.join(self.parts)}"
            if self.parts
            else f"they have no split: write `{self.name}`",
        )

    def called(self, name: str) -> PairFamily:
        """The same pairs under another name."""
        renamed: dict[str, Any] = {
            part: replace(pairs, name=f"{name}.{part}") for part, pairs in self.parts.items()
        }
        whole = None if self.whole is None else replace(self.whole, name=name)
        return replace(self, name=name, **renamed, whole=whole)

    def each(self, change: Callable[[PairSet], PairSet]) -> PairFamily:
        """The family with each of its sets changed."""
        sets = (self.train, self.test, self.whole)
        train, test, whole = (None if one is None else change(one) for one in sets)
        return replace(self, train=train, test=test, whole=whole)

    def only(self, where: str | None) -> PairFamily:
        """The family, of which a run keeps the pairs that are so."""
        return self.each(lambda pairs: replace(pairs, where=where)) if where else self
