"""The statements of a program, and the program."""

from __future__ import annotations

from dataclasses import field

from causaldsl.syntax.ast.data import PatternPairs, PromptItem
from causaldsl.syntax.ast.expressions import Expression, Name, Number, String
from causaldsl.syntax.ast.nodes import Comment, Identifier, Node
from causaldsl.syntax.ast.runs import (
    Arm,
    AttributionItem,
    Binding,
    Interventions,
    NewTokens,
    NumberArm,
    Over,
    Projection,
    Report,
    ReportTexts,
    Sampling,
    TraceItem,
)


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


class Program(Node):
    statements: tuple[Statement, ...]
    comments: tuple[Comment, ...] = field(compare=False, default=(), repr=False)


def definition(statement: Node) -> Identifier | None:
    """The name that a statement defines, if it defines one."""
    return statement.name if isinstance(statement, Definition | Broken) else None
