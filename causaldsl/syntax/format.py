"""Tree to text, in the one house style. Comments stay with the line or statement they belong to.

Every class of node has one printer. It gives the node as text, or as a block of lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from causaldsl.syntax import ast

WIDTH = 88
LONG = 100
"""How long a `path` or `trace` may get before it is broken: one line shows best where it goes."""


@dataclass(frozen=True)
class _Row:
    """A line of a block: its text, and the first and last node in it."""

    depth: int
    text: str
    first: ast.Node
    last: ast.Node


@dataclass(frozen=True)
class _Block:
    """``head { rows }``; it stands on one line, ``flat``, if that is at most ``width`` long."""

    head: str
    rows: list[_Row]
    flat: str
    width: int = 0

    def lines(self, node: ast.Node, comments: _Comments) -> list[str]:
        rows_start = self.rows[0].first.span.start if self.rows else node.span.end
        brace = comments.brace(node, rows_start)
        above = [c.text for c in comments.before(brace)]
        if not comments.inside(node) and len(self.flat) <= self.width:
            return [*above, self.flat + comments.beside(node)]
        lines = [*above, f"{self.head} {{{comments.behind(brace, node, rows_start)}"]
        for row in self.rows:
            indent = "  " * row.depth
            lines += [f"{indent}{c.text}" for c in comments.before(row.first.span.start)]
            lines.append(f"{indent}{row.text}{comments.beside(row.last)}")
        lines += [f"  {c.text}" for c in comments.before(node.span.end)]
        return [*lines, f"}}{comments.beside(node)}"]


@dataclass(frozen=True)
class _Stages:
    """A path: on one line if that is short, else with a line for every stage."""

    head: str
    parts: tuple[ast.Node, ...]
    flat: str
    width: int = LONG

    def lines(self, node: ast.Node, comments: _Comments) -> list[str]:
        above = [c.text for c in comments.before(node.span.end)]
        if len(self.flat) <= self.width:
            return [*above, self.flat + comments.beside(node)]
        lines = [self.head]
        for part in self.parts:
            stages = _stages(part) if isinstance(part, ast.Chain) else [show(part)]
            joint = "  " if len(lines) == 1 else "  + "
            lines += [joint + stages[0], *(f"  -> {stage}" for stage in stages[1:])]
        return [*above, *lines[:-1], lines[-1] + comments.beside(node)]


def format_program(program: ast.Program) -> str:
    """The program in the house style; parsing the result gives an equal tree.

    >>> from causaldsl.diagnostics import Source
    >>> from causaldsl.syntax.parse import parse
    >>> print(format_program(parse(Source("x", 'let   a=1   # one'))), end="")
    let a = 1  # one
    """
    comments = _Comments(program)
    out: list[str] = []
    previous_end = 0
    for statement in program.statements:
        before = comments.before(statement.span.start)
        first = before[0].span.start if before else statement.span.start
        blank = program.span.source.text[previous_end:first].count("\n") > 1
        if out and blank:
            out.append("")
        out += [comment.text for comment in before]
        out += _statement(statement, comments)
        previous_end = statement.span.end
    rest = comments.before(len(program.span.source.text) + 1)
    if rest and out and "\n\n" in program.span.source.text[previous_end : rest[0].span.start]:
        out.append("")
    out += [comment.text for comment in rest]
    return "\n".join(out) + "\n" if out else ""


class _Comments:
    """The program's comments, each handed out once, in order."""

    def __init__(self, program: ast.Program):
        self._all = program.comments
        self._left = list(program.comments)

    def before(self, offset: int) -> list[ast.Comment]:
        taken = [c for c in self._left if c.span.start < offset]
        self._left = self._left[len(taken) :]
        return taken

    def beside(self, node: ast.Node) -> str:
        """The comment on the line where a node ends, if nothing else stands between."""
        if self._left:
            source, start = node.span.source, self._left[0].span.start
            between = source.text[node.span.end : start]
            # Only punctuation may stand between: a closing brace, or the colon of a sweep.
            if start >= node.span.end and not between.strip(" \t}:"):
                return "  " + self._left.pop(0).text
        return ""

    def brace(self, node: ast.Node, stop: int) -> int:
        """Where the brace of a block is that is opened before ``stop``, and not in a comment."""
        text, found = node.span.source.text, stop
        while (found := text.rfind("{", node.span.start, found)) >= 0:
            if not any(c.span.start < found < c.span.end for c in self._all):
                return found
        return node.span.start

    def behind(self, brace: int, node: ast.Node, stop: int) -> str:
        """The comment behind the opening brace of a block, on its line."""
        line_end = node.span.source.text.find("\n", brace)
        return "".join(f"  {comment.text}" for comment in self.before(min(line_end, stop)))

    def inside(self, node: ast.Node) -> bool:
        return any(node.span.start < c.span.start < node.span.end for c in self._left)


def _statement(node: ast.Statement, comments: _Comments) -> list[str]:
    printed = _printer(node)(node)
    if isinstance(printed, str):
        inner = comments.before(node.span.end)
        return [*(c.text for c in inner), printed + comments.beside(node)]
    return printed.lines(node, comments)


def show(node: Any) -> str:
    """One node as source text, on one line."""
    printed = _printer(node)(node)
    return printed if isinstance(printed, str) else printed.flat


def _printer(node: Any) -> Callable[[Any], str | _Block | _Stages]:
    """How a node is printed; `WORD NAME = VALUE` needs no printer of its own."""
    plain = isinstance(node, ast.Assignment) and type(node) not in _PRINTERS
    return _assign(type(node).__name__.lower()) if plain else _PRINTERS[type(node)]


def _inside(node: Any, binding: int) -> str:
    text = show(node)
    return f"({text})" if _BINDING.get(type(node), 9) < binding else text


def _binary(binding: int) -> Callable[[Any], str]:
    # The right side of - and / binds one tighter, so that a - (b - c) keeps its parentheses.
    return lambda n: f"{_inside(n.left, binding)} {n.operator} {_inside(n.right, binding + 1)}"


def _list(items: Iterable[Any]) -> str:
    return ", ".join(show(item) for item in items)


def _answers(nodes: tuple[ast.Answer, ...]) -> str:
    return show(nodes[0]) if len(nodes) == 1 else f"[{_list(nodes)}]"


def _braces(items: Iterable[str]) -> str:
    return f"{{ {'  '.join(items)} }}".replace("{  }", "{ }")


def _assign(word: str) -> Callable[[Any], str]:
    return lambda n: f"{word} {n.name.text} = {show(n.value)}"


def _as(node: ast.Plot | ast.Render) -> str:
    return f" as {show(node.path)}" if node.path else ""


def _attribute(node: ast.Attribute) -> str:
    owner = _inside(node.owner, 6)
    if isinstance(node.owner, ast.Number) and node.name.text.isdigit():
        owner = f"({owner})"  # else a fraction would be read
    return f"{owner}.{node.name.text}"


def _clause(node: ast.Clause) -> str:
    """A difference needs no parentheses; a sum does, since `+` joins interventions."""
    minus = isinstance(node.value, ast.BinarySum) and node.value.operator == "-"
    return f"{node.word} {_inside(node.value, 2 if minus else 3)}"


def _pattern_pairs(node: ast.PatternPairs) -> str:
    options = _braces(f"{option.name} {option.value}" for option in node.options)
    right = f"{node.arrow} {node.right.text} " if node.right else ""
    if node.sources:
        named = ", ".join(f"{one.name.text}: {one.pattern.text}" for one in node.sources)
        right = f"<- {{{named}}} "
    return f"{node.prompts.text} {node.left.text} {right}{options}"


def _stages(node: ast.Chain) -> list[str]:
    """The sender, and what follows each arrow; the policy stands behind the last."""
    policy = f" {show(node.policy)}" if node.policy else ""
    stages = [show(node.sender), *(_inside(stage, 5) for stage in node.stages)]
    return [*stages[:-1], stages[-1] + policy]


def _rows(nodes: Iterable[ast.Node], depth: int = 1) -> list[_Row]:
    return [_Row(depth, show(node), node, node) for node in nodes]


def _plain_block(head: str, rows: list[_Row], width: int = 0) -> _Block:
    return _Block(head, rows, f"{head} {_braces(row.text for row in rows)}", width)


def _loop(bindings: tuple[ast.Binding, ...]) -> _Row:
    return _Row(1, f"for {_list(bindings)}:", bindings[0], bindings[-1])


def _sweep(node: ast.Sweep) -> _Block:
    head = f"sweep {node.name.text} on {show(node.pairs)}"
    loop, report = _loop(node.bindings), _rows([node.report])
    body = _rows(node.body if isinstance(node.body, tuple) else [node.body], 2)
    does = "  ".join(row.text for row in body)
    flat = f"{head} {{ {loop.text} {does}  {report[0].text} }}"
    return _Block(head, [loop, *body, *report], flat, WIDTH if len(body) == 1 else 0)


def _generate(node: ast.Generate) -> _Block:
    """How it writes stands in one line."""
    last = node.sampling[-1] if node.sampling else node.tokens
    how = "  ".join(map(show, [node.tokens, *node.sampling]))
    rows = [*_rows(node.arms), _Row(1, how, node.tokens, last), *_rows([node.report])]
    return _plain_block(f"generate {node.name.text} on {show(node.pairs)}", rows)


def _trace(node: ast.Trace) -> _Block:
    metric = f" to {show(node.metric)}" if node.metric else ""
    does = show(node.interventions) + metric
    head = f"trace {node.name.text} = {does} on {_inside(node.pairs, 2)}"
    return _plain_block(head, _rows(node.items), LONG)


def _attribution(node: ast.Attribution) -> _Block:
    head = f"attribution {node.name.text} to {node.metric.text} on {_inside(node.pairs, 2)}"
    return _plain_block(head, _rows([*([node.over] if node.over else ()), *node.items]), LONG)


def _model(node: ast.Model) -> str | _Block:
    head = f"model {node.name.text} = {show(node.source)}"
    return _plain_block(head, _rows(node.options.items), WIDTH) if node.options else head


def _path(node: ast.Path) -> _Stages:
    head = f"path {node.name.text} ="
    return _Stages(head, node.interventions.parts, f"{head} {show(node.interventions)}")


# How tightly an expression binds; a looser one inside a tighter one gets parentheses.
_BINDING: dict[type, int] = {
    ast.Conjunction: 0,
    ast.Comparison: 1,
    ast.Difference: 1,
    ast.IsVerdict: 1,
    ast.BinarySum: 2,
    ast.BinaryProduct: 3,
    ast.Negative: 4,
    ast.At: 5,
}
_PRINTERS: dict[type, Callable[[Any], str | _Block | _Stages]] = {
    ast.Identifier: lambda n: n.text,
    ast.Name: lambda n: n.text,
    ast.Number: lambda n: n.text,
    ast.String: lambda n: json.dumps(n.text, ensure_ascii=False),
    ast.ListOf: lambda n: f"[{_list(n.items)}]",
    ast.SetOf: lambda n: f"{{{_list(n.items)}}}",
    ast.Range: lambda n: f"{show(n.first)}..{show(n.last)}",
    ast.Attribute: _attribute,
    ast.Index: lambda n: f"{_inside(n.owner, 6)}[{show(n.at)}]",
    ast.Cell: lambda n: _list(n.parts),
    ast.Option: lambda n: f"{n.name.text}: {show(n.value)}",
    ast.Call: lambda n: f"{_inside(n.function, 6)}({_list(n.arguments)})",
    ast.Position: lambda n: n.first + (f"..{n.last}" if n.last else ""),
    ast.PositionSet: lambda n: f"{{{_list(n.items)}}}",
    ast.At: lambda n: f"{_inside(n.site, 6)} @ {show(n.position)}",
    ast.Negative: lambda n: f"-{_inside(n.value, 4)}",
    ast.BinarySum: _binary(2),
    ast.BinaryProduct: _binary(3),
    ast.Comparison: lambda n: f"{_inside(n.left, 2)} {n.operator} {_inside(n.right, 2)}",
    ast.Difference: lambda n: f"{_inside(n.left, 2)} except {_inside(n.right, 2)}",
    ast.IsVerdict: lambda n: f"{_inside(n.owner, 2)} is {_inside(n.verdict, 2)}",
    ast.Conjunction: lambda n: " and ".join(_inside(part, 1) for part in n.parts),
    ast.Template: lambda n: f"{n.role:<5} {show(n.text)}",
    ast.Slot: lambda n: f"{' '.join(i.text for i in n.letters)}: {n.lexicon.text}",
    ast.Slots: lambda n: f"slots {_list(n.slots)}",
    ast.Answers: lambda n: (
        f"answer {_answers(n.answer)}" + (f"  foil {_answers(n.foil)}" if n.foil else "")
    ),
    ast.Selected: lambda n: f"{n.word} {n.of.text}",
    ast.Frame: lambda n: f"frame {n.word}",
    ast.PositionDefinition: lambda n: f"{n.name.text} = {n.place}",
    ast.Positions: lambda n: f"position {_list(n.definitions)}",
    ast.PatternPairs: _pattern_pairs,
    ast.Clause: _clause,
    ast.Intervention: lambda n: " ".join([n.verb.text, _inside(n.site, 5), *map(show, n.clauses)]),
    # A sum among the parts stands in parentheses.
    ast.Interventions: lambda n: " ".join(
        part for joint, node in n.joined() for part in (joint, _inside(node, 3))
    ).removeprefix("+ "),
    ast.PolicyItem: lambda n: f"{n.word.text} {n.choice.text}",
    ast.Policy: lambda n: _braces(map(show, n.items)),
    ast.Chain: lambda n: " -> ".join(_stages(n)),
    ast.Through: lambda n: f"through {', '.join(_inside(c, 6) for c in n.components)}",
    ast.Top: lambda n: f"top {n.count.text}",
    ast.TracedAt: lambda n: f"at {', '.join(n.positions)}",
    ast.Over: lambda n: f"over {', '.join(_inside(site, 5) for site in n.sites)}",
    ast.Edges: lambda n: n.word,
    ast.Steps: lambda n: f"steps {n.count.text}",
    ast.Integrate: lambda n: f"integrate {n.what.text}",
    ast.SplitBy: lambda n: f"by {n.what.text}",
    ast.CheckSample: lambda n: f"check {n.count.text}",
    ast.Arm: lambda n: f"{n.name.text} = {show(n.interventions)}",
    ast.Report: lambda n: f"report {_list(n.metrics)}",
    ast.Projection: lambda n: (
        f"{n.name.text} = {_inside(n.direction, 2)} at {_inside(n.site, 5)}"
        + (f" with {show(n.interventions)}" if n.interventions else "")
    ),
    ast.NumberArm: lambda n: f"{n.name.text} = {_inside(n.value, 2)}",
    ast.Binding: lambda n: f"{n.name.text} in {show(n.values)}",
    ast.ImportFile: lambda n: f"import {show(n.path)}",
    ast.Use: lambda n: f"use {show(n.package)}",
    ast.Allow: lambda n: f"allow {_list(n.names)}",
    ast.ModelOption: lambda n: f"{n.name.text} {show(n.value)}",
    ast.Model: _model,
    ast.Dictionary: lambda n: (
        f"dictionary {n.name.text} = {show(n.value)} at {_inside(n.at, 6)}"
        + (f" -> {_inside(n.to, 6)}" if n.to else "")
    ),
    ast.Lexicon: lambda n: (
        f"lexicon {n.name.text} = {show(n.value)}" + (f" split {n.split}" if n.split else "")
    ),
    ast.Prompts: lambda n: _plain_block(f"prompts {n.name.text}", _rows(n.items)),
    ast.TextPrompts: _assign("prompts"),
    ast.Pairs: _assign("pairs"),
    ast.Path: _path,
    ast.Run: lambda n: f"run {n.name.text} = {n.base.text} with {show(n.interventions)}",
    ast.Measure: lambda n: _plain_block(
        f"measure {n.name.text} on {show(n.pairs)}", _rows([*n.arms, n.report])
    ),
    ast.Sweep: _sweep,
    ast.Table: lambda n: _plain_block(
        f"table {n.name.text}", [_loop(n.bindings), *_rows(n.arms, 2)]
    ),
    ast.Histogram: lambda n: _plain_block(
        f"histogram {n.name.text} on {_list(n.pairs)}", _rows(n.arms)
    ),
    ast.NewTokens: lambda n: f"tokens {n.value}",
    ast.Sampling: lambda n: f"{n.name} {n.value}",
    ast.TextMetric: lambda n: (f"{n.name.text} = " if n.name else "") + show(n.metric),
    ast.ReportTexts: lambda n: f"report {_list(n.metrics)}",
    ast.Generate: _generate,
    ast.Trace: _trace,
    ast.Attribution: _attribution,
    ast.Expect: lambda n: (
        f"expect {show(n.condition)}"
        + (f" over {n.over}" if n.over else "")
        + (f" at {n.level.text}" if n.level else "")
    ),
    ast.Plot: lambda n: (
        f"plot {n.name.text}"
        + (f" by {n.by.text}" if n.by else "")
        + (f" lines {n.lines.text}" if n.lines else "")
        + (f" relative {_inside(n.relative, 3)}" if n.relative else "")
        + _as(n)
    ),
    ast.Render: lambda n: f"render {n.name.text}{_as(n)}",
}
