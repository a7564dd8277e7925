"""What checking gives: a program whose names, types, shapes and positions are right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from causaldsl.check.pairs import PairFamily
from causaldsl.check.tabled import Table
from causaldsl.check.values import (
    Applied,
    CheckedAudit,
    CheckedPath,
    CheckedTrace,
    Histogram,
    Measurement,
)
from causaldsl.diagnostics import Source, Span
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.tokens import Tokens

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Claim:
    """One comparison of an `expect`, with the text that a reader sees."""

    text: str
    condition: Applied
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Output:
    """A `plot` or `render`: what to draw and the file's name without its ending."""

    kind: str
    target: str
    stem: str
    suffix: str
    span: Span = field(compare=False, repr=False)
    by: str | None = None
    relative: Applied | None = None
    """The loop variable along x of a plot, and the number that all others are divided by."""
    relative_to: str = ""

    @property
    def metric(self) -> str | None:
        """The metric of the number that a plot is relative to, if it is a measured one."""
        return self.relative.word.measured if self.relative else None


@dataclass
class CheckedProgram:
    """A program whose names, types, shapes and positions are right.

    ``defined`` has what every statement defines, by its name and in the program's order. The views
    on it (``measurements`` and the like) leave out a name that a `let` gives to what has one.
    """

    source: Source
    path: Path
    model: ModelSpec | None = None
    defined: dict[str, Any] = field(default_factory=dict)
    params: dict[str, float | str] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    """What the command line set, as it was written."""
    imports: list[Source] = field(default_factory=list)
    """The files that it imports, in the order in which they were read."""
    packages: dict[str, str] = field(default_factory=dict)
    """The version of each package whose words it uses, by the name that it uses."""
    engines: list[str] = field(default_factory=list)
    """The modules that evaluate the words of these packages; the engine imports them."""
    tokens: Tokens | None = field(default=None, compare=False, repr=False)
    """The model's tokenizer, if any prompts needed it."""

    def of_kind(self, kind: type[Kind]) -> dict[str, Kind]:
        """What is defined of one class, by name."""
        return {
            name: value
            for name, value in self.defined.items()
            if isinstance(value, kind) and getattr(value, "name", name) == name
        }

    @property
    def named(self) -> dict[str, Applied]:
        """The operations that have a name: subspaces and what a `let` works out, no params."""
        return {n: value for n, value in self.of_kind(Applied).items() if n not in self.params}

    @property
    def families(self) -> dict[str, PairFamily]:
        return self.of_kind(PairFamily)

    @property
    def paths(self) -> dict[str, CheckedPath]:
        return self.of_kind(CheckedPath)

    @property
    def measurements(self) -> dict[str, Measurement]:
        return self.of_kind(Measurement)

    @property
    def tables(self) -> dict[str, Table]:
        return self.of_kind(Table)

    @property
    def histograms(self) -> dict[str, Histogram]:
        return self.of_kind(Histogram)

    @property
    def traces(self) -> dict[str, CheckedTrace]:
        return self.of_kind(CheckedTrace)

    @property
    def audits(self) -> dict[str, CheckedAudit]:
        return self.of_kind(CheckedAudit)
