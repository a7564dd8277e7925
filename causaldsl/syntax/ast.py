"""The syntax tree: frozen, typed, every node with its span.

A grammar rule ``position_definition`` makes class ``PositionDefinition``; its children become the
fields, in order. Two trees are equal when they say the same, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import dataclass_transform

from causaldsl.diagnostics import Span


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True)
class Node:
    """Anything that stands somewhere in a program. Every subclass is a frozen dataclass."""

    span: Span = field(compare=False, repr=False)

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

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


class Identifier(Node):
    """A name being given to something, or a word with a fixed meaning in its place."""

    text: str


# Expressions


class Expression(Node):
    """Anything that has a value."""


class Name(Expression):
    """A name being used."""

    text: str


class Number(Expression):
    """``text`` as written: the digits after the dot of ``head[7.10]`` are a head."""

    text: str

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def is_integer(self) -> bool:
        return self.text.isdigit()


class String(Expression):
    text: str


class ListOf(Expression):
    items: tuple[Expression, ...]


class SetOf(Expression):
    items: tuple[Expression, ...]


class Range(Expression):
    """``first..last``, both included."""

    first: Expression
    last: Expression


class Attribute(Expression):
    """``owner.name``; in ``head[l.0]`` the name is a number."""

    owner: Expression
    name: Identifier


class Index(Expression):
    owner: Expression
    at: Expression


class Cell(Expression):
    """The values of several loop variables: ``20, END``."""

    parts: tuple[Expression, ...]


class Option(Node):
    name: Identifier
    value: Expression


class Call(Expression):
    function: Expression
    arguments: tuple[Expression | Option, ...]


class Position(Node):
    """``@ first`` or ``@ first..last``; a point is a name with an offset, or a token index."""

    first: str
    last: str | None


class PositionSet(Node):
    """``@ {S2, END}``: all of them."""

    items: tuple[Position, ...]


class At(Expression):
    site: Expression
    position: Position | PositionSet


class Negative(Expression):
    value: Expression


class BinarySum(Expression):
    left: Expression
    operator: str
    right: Expression


class BinaryProduct(Expression):
    left: Expression
    operator: str
    right: Expression


class Difference(Expression):
    """``heads except movers``: a set without the members of another one."""

    left: Expression
    right: Expression


class Comparison(Expression):
    left: Expression
    operator: str
    right: Expression


class IsVerdict(Expression):
    """``NAME is illusory``: a claim on an audit; ``argmax(sweep.metric) is 20.0``."""

    owner: Expression
    verdict: Expression


class Conjunction(Expression):
    parts: tuple[Expression, ...]


# Prompts and pairs


class PromptItem(Node):
    """What stands in the braces of ``prompts``."""


class Template(PromptItem):
    role: str
    text: String


class Slot(Node):
    """Letters or slot names, and the lexicon that fills them."""

    letters: tuple[Identifier, ...]
    lexicon: Identifier


class Slots(PromptItem):
    slots: tuple[Slot, ...]


class Selected(Node):
    """``after X``: of the words that fill a slot, those behind its own."""

    word: str
    of: Identifier


Answer = Identifier | String | Selected
"""A letter or slot, a column of its lexicon (`X.capital`), a text, or words of a lexicon."""


class Answers(PromptItem):
    """An answer and a foil, or lists of them. Without a foil, it is the source's answer."""

    answer: tuple[Answer, ...]
    foil: tuple[Answer, ...] | None


class Frame(PromptItem):
    """``frame chat``: every prompt in the model's chat template."""

    word: str


class PositionDefinition(Node):
    name: Identifier
    place: str


class Positions(PromptItem):
    definitions: tuple[PositionDefinition, ...]


class PairOption(Node):
    """``train 300``; the value is a whole number or the name of one.

    ``same COLUMN`` names a column, ``answers whole`` lets answers have several tokens, and of
    ``where correct`` a run keeps the pairs that its model gets right.
    """

    name: str
    value: str


class NamedPattern(Node):
    """``x: BAB``: a source by its name."""

    name: Identifier
    pattern: Identifier


class PatternPairs(Node):
    """``prompts LEFT <-> RIGHT { ... }``, or ``SOURCE -> BASE`` for one direction, or ``BASE``.

    Of ``BASE <- {x: SOURCE, y: SOURCE}``, whose arrow is ``<-``, the first source is the right one.
    """

    prompts: Identifier
    left: Identifier
    arrow: str | None
    right: Identifier | None
    options: tuple[PairOption, ...]
    sources: tuple[NamedPattern, ...] = ()


# Measurements


class Clause(Node):
    """``along v``: any word, and what it says of an intervention."""

    word: str
    value: Expression


class Intervention(Node):
    verb: Identifier
    site: Expression
    clauses: tuple[Clause, ...]


class Interventions(Node):
    """Interventions in force at once, joined by ``+`` or ``then``, which ``joints`` has in order.

    An expression stands for a path or a run by name.
    """

    parts: tuple[Intervention | Chain | Expression, ...]
    joints: tuple[str, ...] = ()

    def joined(self) -> Iterator[tuple[str, Intervention | Chain | Expression]]:
        """Every part with what stands before it; ``+`` before the first."""
        yield from zip(("+", *self.joints), self.parts, strict=True)


class PolicyItem(Node):
    word: Identifier
    choice: Identifier


class Policy(Node):
    """``{ freeze attention  layernorm recompute }``"""

    items: tuple[PolicyItem, ...]


class Chain(Node):
    """``sender -> receivers -> ... -> logits { policy }``"""

    sender: Interventions
    stages: tuple[Expression, ...]
    policy: Policy | None


class Arm(Node):
    name: Identifier
    interventions: Interventions


class NumberArm(Node):
    name: Identifier
    value: Expression


class Projection(Node):
    """``name = direction at site``, with interventions in force or none."""

    name: Identifier
    direction: Expression
    site: Expression
    interventions: Interventions | None


class Report(Node):
    metrics: tuple[Identifier, ...]


class NewTokens(Node):
    """How many tokens a model may write: a number, or the name of one."""

    value: str


class Sampling(Node):
    """``temperature 0.7``, ``top_k 50``, ``seed 1``."""

    name: str
    value: str


class TextMetric(Node):
    """What is reported of texts, perhaps under a name: ``weddings = count([..])``."""

    name: Identifier | None
    metric: Expression


class ReportTexts(Node):
    metrics: tuple[TextMetric, ...]


class Binding(Node):
    name: Identifier
    values: Expression


class TraceItem(Node):
    """What stands in the braces of ``trace``."""


class Through(TraceItem):
    """The components that a trace looks at: ``heads``, ``mlps[20..29]``."""

    components: tuple[Expression, ...]


class Top(TraceItem):
    count: Number


class TracedAt(TraceItem):
    positions: tuple[str, ...]


class AttributionItem(Node):
    """What stands in the braces of ``attribution``."""


class Over(AttributionItem):
    """What is attributed to: ``heads.z``, ``mlps``, ``mlp_hidden[20] @ END``."""

    sites: tuple[Expression, ...]


class Edges(AttributionItem):
    """Attribute to the edges between the components, and not to these."""

    word: str


class Steps(AttributionItem):
    count: Number


class Integrate(AttributionItem):
    """What is moved from base to source where there are several steps."""

    what: Identifier


class SplitBy(AttributionItem):
    """``by neuron``: the coordinates of a site one by one."""

    what: Identifier


class CheckSample(AttributionItem):
    """How many are measured exactly."""

    count: Number


# Statements


class Statement(Node):
    """One of the statements of a program."""


class Broken(Statement):
    """A statement that can't be read, with the name that it would have defined, if any."""

    keyword: str
    name: Identifier | None


class ImportFile(Statement):
    path: String


class Use(Statement):
    package: String


class Allow(Statement):
    """Names of warnings that are not to be given."""

    names: tuple[Identifier, ...]


class Definition(Statement):
    """A statement that gives something a name."""

    name: Identifier


class Assignment(Definition):
    """``WORD NAME = VALUE``"""

    value: Expression


class Param(Assignment):
    """A constant that the command line can set."""


class ModelOption(Node):
    """``bos yes``, ``revision "v2"``."""

    name: Identifier
    value: String | Identifier


class ModelOptions(Node):
    """``{ bos yes  dtype bfloat16 }``"""

    items: tuple[ModelOption, ...]


class Model(Definition):
    source: String | Name
    options: ModelOptions | None


class Dictionary(Assignment):
    """``dictionary NAME = sae("FOLDER") at SITE``; a transcoder reads ``at`` and writes ``to``."""

    at: Expression
    to: Expression | None


class Lexicon(Assignment):
    split: str | None


class Prompts(Definition):
    items: tuple[PromptItem, ...]


class TextPrompts(Assignment):
    """``prompts NAME = corpus(...)``: prompts without answers."""


class Pairs(Definition):
    value: Expression | PatternPairs


class Site(Assignment):
    """A site at positions."""


class Set(Assignment):
    """Heads, layers, positions or sites."""


class Subspace(Assignment):
    """A direction or subspace."""


class Let(Assignment):
    """A number or another value."""


class Metric(Assignment):
    """An expression over logits and probabilities that `report` takes by its name."""


class Measure(Definition):
    pairs: Expression
    arms: tuple[Arm, ...]
    report: Report


class Sweep(Definition):
    pairs: Expression
    bindings: tuple[Binding, ...]
    body: tuple[Arm, ...] | Interventions
    report: Report


class Table(Definition):
    """Numbers for every combination of loop variables."""

    bindings: tuple[Binding, ...]
    arms: tuple[NumberArm, ...]


class Histogram(Definition):
    pairs: tuple[Expression, ...]
    arms: tuple[Projection, ...]


class Generate(Definition):
    """Texts that the model writes, with interventions in force or none."""

    pairs: Expression
    arms: tuple[Arm, ...]
    tokens: NewTokens
    sampling: tuple[Sampling, ...]
    report: ReportTexts


class Path(Definition):
    """``interventions`` should be one chain; the checker says so if it isn't."""

    interventions: Interventions


class Run(Definition):
    """``run NAME = base with INTERVENTIONS``"""

    base: Identifier
    interventions: Interventions


class Trace(Definition):
    interventions: Interventions
    metric: Expression | None
    pairs: Expression
    items: tuple[TraceItem, ...]


class Attribution(Definition):
    """``attribution NAME to METRIC on PAIRS { .. }``"""

    metric: Identifier
    pairs: Expression
    over: Over | None
    items: tuple[AttributionItem, ...]


class Audit(Assignment):
    """A question about a subspace."""


class Expect(Statement):
    """``over`` is `templates` where those are drawn too, ``level`` that of its intervals."""

    condition: Expression
    over: str | None
    level: Number | None


class Plot(Statement):
    """``by`` is the loop variable along x, ``lines`` the one whose every value has a line.

    ``relative`` is what every number is divided by.
    """

    name: Identifier
    by: Identifier | None
    lines: Identifier | None
    relative: Expression | None
    path: String | None


class Render(Statement):
    name: Identifier
    path: String | None


@dataclass(frozen=True)
class Comment:
    """A comment's text with its ``#``, and where it stands."""

    span: Span
    text: str


class Program(Node):
    statements: tuple[Statement, ...]
    comments: tuple[Comment, ...] = field(compare=False, default=(), repr=False)


def definition(statement: Node) -> Identifier | None:
    """The name that a statement defines, if it defines one."""
    return statement.name if isinstance(statement, Definition | Broken) else None
