"""What checking gives: a program whose names, types, shapes and positions are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
from causaldsl.vocabulary.numbers import Result


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
    """Of a plot: the loop variable along x, and what every number is divided by."""
    relative_to: str = ""

    @property
    def metric(self) -> str | None:
        """The metric of the number that a plot is relative to, if it is a measured one."""
        word = self.relative.word if self.relative else None
        return word.metric if isinstance(word, Result) else None


@dataclass
class CheckedProgram:
    """A program whose names, types, shapes and positions are right."""

    source: Source
    path: Path
    model: ModelSpec | None = None
    params: dict[str, float | str] = field(default_factory=dict)
    named: dict[str, Applied] = field(default_factory=dict)
    families: dict[str, PairFamily] = field(default_factory=dict)
    paths: dict[str, CheckedPath] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    traces: dict[str, CheckedTrace] = field(default_factory=dict)
    audits: dict[str, CheckedAudit] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    """What the command line set, as it was written."""
    imports: list[Source] = field(default_factory=list)
    """The files that it imports, in the order in which they were read."""
    tokens: Tokens | None = field(default=None, compare=False, repr=False)
    """The model's tokenizer, if any prompts needed it."""

    def definitions(self) -> Iterator[tuple[str, object]]:
        """All that is compiled, by name: what claims and plots speak of comes before them."""
        yield from self.named.items()
        tables: list[Mapping[str, object]] = [self.measurements, self.tables, self.histograms]
        for table in (*tables, self.traces, self.audits):
            yield from table.items()
        for output in self.outputs:
            if output.relative is not None:
                yield f"plot {output.stem}", output
        for number, claim in enumerate(self.claims, 1):
            yield f"claim {number}", claim
