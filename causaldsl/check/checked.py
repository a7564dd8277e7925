"""What checking gives: a program whose names, types, shapes and positions are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from causaldsl.check.attributed import CheckedAttribution
from causaldsl.check.choices import Choice
from causaldsl.check.generated import Generation
from causaldsl.check.measurements import CheckedAudit, Measurement
from causaldsl.check.pair_families import PairFamily
from causaldsl.check.tabled import Table
from causaldsl.check.values import Applied, CheckedPath, CheckedTrace, Histogram
from causaldsl.diagnostics import Diagnostic, Source, Span
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.tokens import Tokens
from causaldsl.vocabulary.register import Vocabulary

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Claim:
    """One comparison of an `expect`, with the text that a reader sees."""

    text: str
    condition: Applied
    span: Span = field(compare=False, repr=False)
    selected: str = ""
    """What of it was chosen on the very pairs that it is about."""


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
    lines: str | None = None
    """The loop variable whose every value has a line of its own."""

    @property
    def metric(self) -> str | None:
        """The metric of the number that a plot is relative to, if it is a measured one."""
        return self.relative.word.measured if self.relative else None


def _defined(program: CheckedProgram, kind: type[Kind]) -> dict[str, Kind]:
    """What a program defines of one class, by name, without other names for the same."""
    return {
        name: value
        for name, value in program.defined.items()
        if isinstance(value, kind) and getattr(value, "name", name) == name
    }


class _View(Generic[Kind]):
    """What :func:`_defined` gives, as an attribute."""

    def __init__(self, kind: type[Kind]):
        self.kind = kind

    def __get__(self, program: CheckedProgram, owner: type) -> dict[str, Kind]:
        return _defined(program, self.kind)


@dataclass
class CheckedProgram:
    """A program whose names, types, shapes and positions are right.

    ``defined`` has what every statement defines, by its name and in the program's order.
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
    readable: tuple[Path, ...] = ()
    """The files and folders outside of its own that it was allowed to read."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """The limits that were changed for it."""
    imports: list[Source] = field(default_factory=list)
    """The files that it imports, in the order in which they were read."""
    files: dict[Path, str] = field(default_factory=dict)
    """The data files that it reads, by their full path, each as it was written."""
    packages: dict[str, str] = field(default_factory=dict)
    """The version of each package whose words it uses, by the name that it uses."""
    engines: list[str] = field(default_factory=list)
    """The modules that evaluate the words of these packages; the engine imports them."""
    words: Vocabulary = field(default_factory=Vocabulary, compare=False, repr=False)
    """The language's words and those of these packages."""
    tokens: Tokens | None = field(default=None, compare=False, repr=False)
    """The model's tokenizer, if any prompts needed it."""
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Tables that Python gives, by name."""
    right: Mapping[str, tuple[bool, ...]] = field(default_factory=dict, compare=False, repr=False)
    """Which pairs the model gets right, by their set's digest, where a run has found it out."""
    chosen: Mapping[Choice, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """What came out on top, where a run has found it out."""
    early: bool = field(default=False, compare=False)
    """Whether a loop's first members stand for those that a run chooses, and not its last."""
    undecided: dict[Choice, frozenset[Choice]] = field(default_factory=dict, compare=False)
    """What a run has to find out first, each with what its sweep itself hangs on."""
    assumed: dict[Diagnostic, str] = field(default_factory=dict, compare=False)
    """What stood for such members where a mistake was found, in words."""
    readings: list[str] = field(default_factory=list)
    """What was done with each file of data, in one line."""
    warnings: list[Diagnostic] = field(default_factory=list)
    """What may not be meant, though the program is right; each said once."""
    allowed: list[tuple[str, Source | None]] = field(default_factory=list)
    """Warnings that are not to be given, by name; those of an imported file only about it."""

    def definitions(self) -> Iterator[tuple[str, object]]:
        """All that is compiled, by name: what claims and plots speak of comes before them."""
        yield from self.named.items()
        order = (Measurement, Table, Histogram, CheckedTrace, CheckedAttribution, CheckedAudit)
        compiled = {type(v): None for v in self.defined.values() if getattr(v, "compiled", False)}
        for kind in dict.fromkeys((*order, *compiled)):
            yield from _defined(self, kind).items()
        for output in self.outputs:
            if output.relative is not None:
                yield f"plot {output.stem}", output
        for number, claim in enumerate(self.claims, 1):
            yield f"claim {number}", claim

    @property
    def named(self) -> dict[str, Applied]:
        """The operations that have a name: subspaces and what a `let` works out, no params."""
        return {
            name: value
            for name, value in self.defined.items()
            if isinstance(value, Applied) and name not in self.params
        }

    families = _View(PairFamily)
    paths = _View(CheckedPath)
    measurements = _View(Measurement)
    tables = _View(Table)
    histograms = _View(Histogram)
    generations = _View(Generation)
    traces = _View(CheckedTrace)
    attributions = _View(CheckedAttribution)
    audits = _View(CheckedAudit)
