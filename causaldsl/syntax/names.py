"""Where a file's names are given and used: one table for all who ask what a name in the text is.

A name is a definition's, a loop variable of one statement, an arm of one statement, a named
position, a named source of pairs, or a slot of one `prompts` block. What its text means there
follows from the tree and from the names that imported files define.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from causaldsl.diagnostics import Span
from causaldsl.syntax import ast
from causaldsl.syntax.ast import definition

Kind = Literal["definition", "variable", "arm", "position", "source", "slot"]


class Symbol(NamedTuple):
    """What a name stands for; ``owner`` is the statement that a variable, arm or slot is of."""

    kind: Kind
    text: str
    owner: str = ""


@dataclass(frozen=True)
class Mention:
    """A place where a name is written."""

    symbol: Symbol
    span: Span
    defines: bool = False


def mentions(
    statements: Iterable[ast.Statement],
    imported: Iterable[str] = (),
    positions: Iterable[str] = (),
    sources: Iterable[str] = (),
) -> list[Mention]:
    """Every mention of a name, in the order of the statements.

    ``imported`` are the names that imported files define, ``positions`` those of their prompts,
    ``sources`` those that their pairs give to sources.

    >>> from causaldsl.diagnostics import Source
    >>> from causaldsl.syntax.recover import read
    >>> tree, _ = read(Source("x", "let a = 1\\nlet b = a + a"))
    >>> [(m.symbol.text, m.defines, m.span.start) for m in mentions(tree.statements)]
    [('a', True, 4), ('b', True, 14), ('a', False, 18), ('a', False, 22)]
    """
    statements = tuple(statements)
    known = _Known(set(imported), positions=set(positions), sources=set(sources))
    for statement in statements:
        known.add(statement)
    return [m for statement in statements for m in _Statement(known, statement).mentions()]


ARMS = (ast.Arm, ast.NumberArm, ast.Projection)


@dataclass
class _Known:
    """All names of a file, by what they are."""

    definitions: set[str]
    arms: dict[str, set[str]] = field(default_factory=dict)
    positions: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    no_pairs: set[str] = field(default_factory=set)
    """The definitions of this file behind whose dot no source can stand."""
    metrics: set[str] = field(default_factory=set)

    def add(self, statement: ast.Statement) -> None:
        name = definition(statement)
        if name is None:
            return
        self.definitions.add(name.text)
        if isinstance(statement, ast.Metric):
            self.metrics.add(name.text)
        if not isinstance(statement, ast.Pairs):
            self.no_pairs.add(name.text)
        for node in statement.children():
            if isinstance(node, ARMS):
                self.arms.setdefault(name.text, set()).add(node.name.text)
            if isinstance(node, ast.Positions):
                self.positions |= {one.name.text for one in node.definitions}
            if isinstance(node, ast.PatternPairs):
                self.sources |= {one.name.text for one in node.sources}


class _Statement:
    """The names of one statement."""

    def __init__(self, known: _Known, statement: ast.Statement):
        self.known, self.statement = known, statement
        name = definition(statement)
        self.owner = name.text if name is not None else ""
        self.variables = {b.name.text for b in getattr(statement, "bindings", ())}
        items = getattr(statement, "items", ()) if isinstance(statement, ast.Prompts) else ()
        slots = [slot for item in items if isinstance(item, ast.Slots) for slot in item.slots]
        self.slots = {letter.text for slot in slots for letter in slot.letters}

    def mentions(self) -> Iterator[Mention]:
        name = definition(self.statement)
        if name is not None:
            yield Mention(Symbol("definition", name.text), name.span, defines=True)
        yield from self._of(self.statement)

    def _of(self, node: ast.Node) -> Iterator[Mention]:
        special = _SPECIAL.get(type(node))
        if special is not None:
            yield from special(self, node)
        else:
            yield from self._children(node)

    def _children(self, node: ast.Node) -> Iterator[Mention]:
        for child in node.children():
            yield from self._of(child)

    def use(self, text: str, span: Span) -> Iterator[Mention]:
        """A use of a name, if it is one: of a variable, else a definition, else a position."""
        if text in self.variables:
            yield Mention(Symbol("variable", text, self.owner), span)
        elif text in self.known.definitions:
            yield Mention(Symbol("definition", text), span)
        elif text in self.known.positions:
            yield Mention(Symbol("position", text), span)

    def source(self, node: ast.Name) -> Iterator[Mention]:
        """A use of a name where a source can stand, which nothing else that has it goes before."""
        if node.text in self.known.sources - self.known.definitions - self.variables:
            yield Mention(Symbol("source", node.text), node.span)
        else:
            yield from self.use(node.text, node.span)

    def metric(self, name: ast.Identifier) -> Iterator[Mention]:
        """A use of a metric that the file defines, in a report or behind an arm."""
        if name.text in self.known.metrics:
            yield Mention(Symbol("definition", name.text), name.span)

    def slot(self, text: str, span: Span) -> Iterator[Mention]:
        """A use of a slot at the start of a text such as `X.capital` or `X.1+1`."""
        name = _FIRST.match(text)
        if name is not None and name[0] in self.slots:
            at = Span(span.source, span.start, span.start + len(name[0]))
            yield Mention(Symbol("slot", name[0], self.owner), at)


_TAKES = {"patch": "from", "only": "else", "without": "else"}
"""Behind which word of a verb a source can be named."""
_FIRST = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _name(here: _Statement, node: ast.Name) -> Iterator[Mention]:
    yield from here.use(node.text, node.span)


def _gives(kind: Kind) -> Callable[[_Statement, Any], Iterator[Mention]]:
    def gives(here: _Statement, node: Any) -> Iterator[Mention]:
        owner = "" if kind in ("position", "source") else here.owner
        yield Mention(Symbol(kind, node.name.text, owner), node.name.span, defines=True)
        if isinstance(node, ast.PositionDefinition):
            end = node.span.end
            at = Span(node.span.source, end - len(node.place), end)
            yield from here.slot(node.place, at)
        yield from here._children(node)

    return gives


def _attribute(here: _Statement, node: ast.Attribute) -> Iterator[Mention]:
    yield from here._of(node.owner)
    yield from here.metric(node.name)
    if isinstance(node.owner, ast.Name):
        owner, name = node.owner.text, node.name
        if name.text in here.known.arms.get(owner, ()):
            yield Mention(Symbol("arm", name.text, owner), name.span)
    if node.name.text in here.known.sources:
        whole = node.owner.owner if isinstance(node.owner, ast.Attribute) else node.owner
        if isinstance(whole, ast.Name) and whole.text not in here.known.no_pairs:
            yield Mention(Symbol("source", node.name.text), node.name.span)


def _intervention(here: _Statement, node: ast.Intervention) -> Iterator[Mention]:
    yield from here._of(node.site)
    for clause in node.clauses:
        takes = clause.word == _TAKES.get(node.verb.text)
        if takes and isinstance(clause.value, ast.Name):
            yield from here.source(clause.value)
        else:
            yield from here._of(clause)


def _index(here: _Statement, node: ast.Index) -> Iterator[Mention]:
    yield from here._of(node.owner)
    yield from _cell(here, node.at)


def _cell(here: _Statement, node: ast.Node) -> Iterator[Mention]:
    """In the name of a cell, what stands behind a dot is a head, a variable or a position."""
    if isinstance(node, ast.Attribute):
        yield from _cell(here, node.owner)
        yield from here.use(node.name.text, node.name.span)
    elif isinstance(node, ast.Cell):
        for part in node.parts:
            yield from _cell(here, part)
    else:
        yield from here._of(node)


def _verdict(here: _Statement, node: ast.IsVerdict) -> Iterator[Mention]:
    yield from here._of(node.owner)
    if not isinstance(node.verdict, ast.Name):
        yield from _cell(here, node.verdict)


def _position(here: _Statement, node: ast.Position) -> Iterator[Mention]:
    yield from _point(here, node.first, node.span)
    if node.last is not None:
        start = node.span.end - len(node.last)
        yield from _point(here, node.last, Span(node.span.source, start, node.span.end))


def _point(here: _Statement, text: str, span: Span) -> Iterator[Mention]:
    name = _FIRST.match(text)
    if name is not None:
        yield from here.use(name[0], Span(span.source, span.start, span.start + len(name[0])))


def _traced_at(here: _Statement, node: ast.TracedAt) -> Iterator[Mention]:
    at = 0
    for text in node.positions:
        at = node.span.text.index(text, max(at, 2))  # behind the word `at`
        start = node.span.start + at
        yield from _point(here, text, Span(node.span.source, start, start + len(text)))
        at += len(text)


def _pattern_pairs(here: _Statement, node: ast.PatternPairs) -> Iterator[Mention]:
    yield from here.use(node.prompts.text, node.prompts.span)
    for one in node.sources:
        yield from here._of(one)
    for option in node.options:
        if option.name in ("train", "test", "seed"):
            end = option.span.end
            span = Span(node.span.source, end - len(option.value), end)
            yield from here.use(option.value, span)


def _count(here: _Statement, node: ast.NewTokens | ast.Sampling) -> Iterator[Mention]:
    """A number may be a name."""
    end = node.span.end
    yield from here.use(node.value, Span(node.span.source, end - len(node.value), end))


def _text_metric(here: _Statement, node: ast.TextMetric) -> Iterator[Mention]:
    """Words of the language, and what stands in their brackets."""
    if isinstance(node.metric, ast.Call):
        for part in node.metric.arguments:
            yield from here._of(part)


def _slot(here: _Statement, node: ast.Slot) -> Iterator[Mention]:
    for letter in node.letters:
        yield Mention(Symbol("slot", letter.text, here.owner), letter.span, defines=True)
    yield from here.use(node.lexicon.text, node.lexicon.span)


def _answers(here: _Statement, node: ast.Answers) -> Iterator[Mention]:
    for one in node.walk():
        if isinstance(one, ast.Identifier):
            yield from here.slot(one.text, one.span)


def _report(here: _Statement, node: ast.Report) -> Iterator[Mention]:
    for metric in node.metrics:
        yield from here.metric(metric)


def _template(here: _Statement, node: ast.Template) -> Iterator[Mention]:
    span = node.text.span
    for found in re.finditer(r"\{(\w+)(?:\.\w+)?\}", span.text):
        at = Span(span.source, span.start + found.start(1), span.start + found.end(1))
        yield from here.slot(found[1], at)


def _output(here: _Statement, node: ast.Plot | ast.Render) -> Iterator[Mention]:
    yield from here.use(node.name.text, node.name.span)
    for variable in (node.by, node.lines) if isinstance(node, ast.Plot) else ():
        if variable is not None:
            yield Mention(Symbol("variable", variable.text, node.name.text), variable.span)
    yield from here._children(node)


def _trace(here: _Statement, node: ast.Trace) -> Iterator[Mention]:
    for part in (node.interventions, node.pairs, *node.items):
        yield from here._of(part)


def _attribution(here: _Statement, node: ast.Attribution) -> Iterator[Mention]:
    yield from here.metric(node.metric)
    for part in (node.pairs, *([node.over] if node.over else ()), *node.items):
        yield from here._of(part)


_SPECIAL: dict[type[ast.Node], Callable[[_Statement, Any], Iterator[Mention]]] = {
    ast.Name: _name,
    ast.Binding: _gives("variable"),
    ast.Arm: _gives("arm"),
    ast.NumberArm: _gives("arm"),
    ast.Projection: _gives("arm"),
    ast.PositionDefinition: _gives("position"),
    ast.NamedPattern: _gives("source"),
    ast.Attribute: _attribute,
    ast.Intervention: _intervention,
    ast.Index: _index,
    ast.IsVerdict: _verdict,
    ast.Position: _position,
    ast.TracedAt: _traced_at,
    ast.PatternPairs: _pattern_pairs,
    ast.Slot: _slot,
    ast.Answers: _answers,
    ast.Template: _template,
    ast.Report: _report,
    ast.NewTokens: _count,
    ast.Sampling: _count,
    ast.TextMetric: _text_metric,
    ast.Plot: _output,
    ast.Render: _output,
    ast.Trace: _trace,
    ast.Attribution: _attribution,
}
