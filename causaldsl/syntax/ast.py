"""The syntax tree: frozen, typed, every node with its span.

A grammar rule ``position_definition`` makes class ``PositionDefinition``; its children become the
fields, in order. Two trees are equal when they say the same, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from causaldsl.diagnostics import Span


@dataclass(frozen=True)
class Node:
    """Anything that stands somewhere in a program."""

    span: Span = field(compare=False, repr=False)

    def children(self) -> Iterator[Node]:
        for item in fields(self):
            value = getattr(self, item.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Node):
                    yield part

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in source order."""
        yield self
        for child in self.children():
            yield from child.walk()


# Expressions


@dataclass(frozen=True)
class Identifier(Node):
    """A name being given to something, or a word with a fixed meaning in its place."""

    text: str


@dataclass(frozen=True)
class Name(Node):
    """A name being used."""

    text: str


@dataclass(frozen=True)
class Number(Node):
    """``text`` as written: the digits after the dot of ``head[7.10]`` are a head."""

    text: str

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def is_integer(self) -> bool:
        return self.text.isdigit()


@dataclass(frozen=True)
class String(Node):
    text: str


@dataclass(frozen=True)
class ListOf(Node):
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class SetOf(Node):
    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Range(Node):
    """``first..last``, both included."""

    first: Expression
    last: Expression


@dataclass(frozen=True)
class Attribute(Node):
    owner: Expression
    name: Identifier


@dataclass(frozen=True)
class Index(Node):
    owner: Expression
    at: Expression


@dataclass(frozen=True)
class Option(Node):
    name: Identifier
    value: Expression


@dataclass(frozen=True)
class Call(Node):
    function: Expression
    arguments: tuple[Expression | Option, ...]


@dataclass(frozen=True)
class Position(Node):
    """``@ first`` or ``@ first..last``; a point is a name with an offset, or a token index."""

    first: str
    last: str | None


@dataclass(frozen=True)
class At(Node):
    site: Expression
    position: Position


@dataclass(frozen=True)
class Negative(Node):
    value: Expression


@dataclass(frozen=True)
class BinarySum(Node):
    left: Expression
    operator: str
    right: Expression


@dataclass(frozen=True)
class BinaryProduct(Node):
    left: Expression
    operator: str
    right: Expression


@dataclass(frozen=True)
class Comparison(Node):
    left: Expression
    operator: str
    right: Expression


@dataclass(frozen=True)
class Conjunction(Node):
    parts: tuple[Expression, ...]


Expression: TypeAlias = (
    Name
    | Number
    | String
    | ListOf
    | SetOf
    | Range
    | Attribute
    | Index
    | Call
    | At
    | Negative
    | BinarySum
    | BinaryProduct
    | Comparison
    | Conjunction
)


# Prompts and pairs


@dataclass(frozen=True)
class Template(Node):
    role: str
    text: String


@dataclass(frozen=True)
class Slot(Node):
    """Letters or slot names, and the lexicon that fills them."""

    letters: tuple[Identifier, ...]
    lexicon: Identifier


@dataclass(frozen=True)
class Slots(Node):
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Answers(Node):
    answer: Identifier
    foil: Identifier


@dataclass(frozen=True)
class PositionDefinition(Node):
    name: Identifier
    place: str


@dataclass(frozen=True)
class Positions(Node):
    definitions: tuple[PositionDefinition, ...]


PromptItem: TypeAlias = Template | Slots | Answers | Positions


@dataclass(frozen=True)
class PairOption(Node):
    name: str
    value: str


@dataclass(frozen=True)
class PatternPairs(Node):
    """``prompts LEFT <-> RIGHT { ... }``, or ``SOURCE -> BASE`` for one direction."""

    prompts: Identifier
    left: Identifier
    arrow: str
    right: Identifier
    options: tuple[PairOption, ...]


# Measurements


@dataclass(frozen=True)
class Clause(Node):
    word: str
    value: Expression


@dataclass(frozen=True)
class Intervention(Node):
    verb: Identifier
    site: Expression
    clauses: tuple[Clause, ...]


@dataclass(frozen=True)
class Interventions(Node):
    """Interventions in force at once, joined by ``+``."""

    parts: tuple[Intervention, ...]


@dataclass(frozen=True)
class Arm(Node):
    name: Identifier
    interventions: Interventions


@dataclass(frozen=True)
class Report(Node):
    metrics: tuple[Identifier, ...]


@dataclass(frozen=True)
class Binding(Node):
    name: Identifier
    values: Expression


# Statements


@dataclass(frozen=True)
class ImportFile(Node):
    path: String


@dataclass(frozen=True)
class Model(Node):
    name: Identifier
    source: String


@dataclass(frozen=True)
class Lexicon(Node):
    name: Identifier
    value: Expression
    split: str | None


@dataclass(frozen=True)
class Prompts(Node):
    name: Identifier
    items: tuple[PromptItem, ...]


@dataclass(frozen=True)
class Pairs(Node):
    name: Identifier
    value: Expression | PatternPairs


@dataclass(frozen=True)
class Site(Node):
    name: Identifier
    value: Expression


@dataclass(frozen=True)
class Subspace(Node):
    name: Identifier
    value: Expression


@dataclass(frozen=True)
class Let(Node):
    name: Identifier
    value: Expression


@dataclass(frozen=True)
class Measure(Node):
    name: Identifier
    pairs: Expression
    arms: tuple[Arm, ...]
    report: Report


@dataclass(frozen=True)
class Sweep(Node):
    name: Identifier
    pairs: Expression
    bindings: tuple[Binding, ...]
    body: tuple[Arm, ...] | Interventions
    report: Report


@dataclass(frozen=True)
class Expect(Node):
    condition: Expression


@dataclass(frozen=True)
class Plot(Node):
    name: Identifier
    path: String | None


@dataclass(frozen=True)
class Render(Node):
    name: Identifier
    path: String | None


Statement: TypeAlias = (
    ImportFile
    | Model
    | Lexicon
    | Prompts
    | Pairs
    | Site
    | Subspace
    | Let
    | Measure
    | Sweep
    | Expect
    | Plot
    | Render
)


@dataclass(frozen=True)
class Comment:
    """A comment's text with its ``#``, and where it stands."""

    span: Span
    text: str


@dataclass(frozen=True)
class Program(Node):
    statements: tuple[Statement, ...]
    comments: tuple[Comment, ...] = field(compare=False, default=(), repr=False)
