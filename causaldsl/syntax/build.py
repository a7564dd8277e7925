"""From the parser's tree to the syntax tree: every rule makes its class from its children."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from lark import Token, Tree

from causaldsl.diagnostics import Diagnostic, Source, Span, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.grammar import keywords
from causaldsl.syntax.mistakes import keyword

NESTING = 150
"""How deeply expressions may be nested; what comes after the parser goes down as deep."""
DIGITS = 400
"""How many a number may have: those of the largest that a computer reckons with, and some."""
NAME = 100
"""Characters of a name, which files are called by."""
_NUMBERS = {"NUMBER", "INDEX", "PLACE", "POINT"}
_LISTS = {"any", "some", "commas", "any_commas", "several", "parts", "claims", "one_answer"}
_TOKENS = {"arrow", "operator", "clause_word", "joint", "minus"}


class Builder:
    """Builds statements of ``source``; the parser counted characters from ``offset``.

    ``refused`` collects what is wrong with names: the statement around them is built all the same.
    """

    def __init__(self, source: Source):
        self.source, self.offset = source, 0
        self.refused: list[Diagnostic] = []

    def statement(self, tree: Tree[Any], offset: int) -> ast.Statement:
        """One statement.

        Raises:
            ProgramError: if a text in it can't be read, or it is nested too deeply.
        """
        self.offset = offset
        try:
            return cast(ast.Statement, self._made(tree, 0))
        except _TooDeep:
            span = self._span(tree)
            first_line = Span(self.source, span.start, span.start + len(span.text.split("\n")[0]))
            raise wrong(
                "syntax",
                "an expression of this statement is nested too deeply",
                first_line,
                f"at most {NESTING} levels are read: split it with `let`",
            ) from None

    def _made(self, tree: Any, depth: int) -> Any:
        if not isinstance(tree, Tree):
            return None if tree is None else self._token(tree)
        if depth > NESTING:
            raise _TooDeep
        parts = [self._made(child, depth + 1) for child in tree.children]
        rule = str(tree.data)
        if rule in _LISTS:
            return tuple(parts)
        if rule in _TOKENS:
            return parts[0]
        special = _SPECIAL.get(rule)
        if special is not None:
            return special(self, self._span(tree), *parts)
        return getattr(ast, rule.title().replace("_", ""))(self._span(tree), *parts)

    def _token(self, token: Token) -> str:
        if token.type in _NUMBERS and sum(map(str.isdigit, token)) > DIGITS:
            start = self.offset + cast(int, token.start_pos)
            span = Span(self.source, start, start + len(token))
            message = f"a number of {len(token)} characters can't be read"
            raise wrong("number-range", message, span, f"at most {DIGITS} digits are read")
        return str(token)

    def _span(self, tree: Tree[Any]) -> Span:
        # Only a rule that matched nothing has an empty meta, and those are lists.
        meta = tree.meta
        return Span(self.source, self.offset + meta.start_pos, self.offset + meta.end_pos)


class _TooDeep(Exception):
    """An expression is nested too deeply."""


def _defined(self: Builder, span: Span, name: str) -> ast.Identifier:
    if name in keywords():
        self.refused += keyword(name, span).diagnostics
    elif len(name) > NAME:
        message = f"a name of {len(name)} characters is too long"
        self.refused += wrong("name-length", message, span, f"{NAME} are enough").diagnostics
    return ast.Identifier(span, name)


def _string(self: Builder, span: Span, text: str) -> ast.String:
    """The text between the quotes, with \\" and \\\\ and other escapes of JSON resolved."""
    try:
        found = str(json.loads(text))
    except json.JSONDecodeError:
        if any(char < " " for char in text):
            message, way = "a control character stands in this text", "write it as \\u0007"
        else:
            message, way = "a `\\` here begins no known escape", "write `\\\\` for a backslash"
        raise wrong("syntax", message, span, way) from None
    if any("\ud800" <= char <= "\udfff" for char in found):
        message = "this text holds half of a character, which no file can hold"
        raise wrong("syntax", message, span, "write both halves, or the character itself")
    return ast.String(span, found)


def _trace(
    self: Builder, span: Span, name: Any, does: ast.Interventions, metric: Any, *rest: Any
) -> ast.Trace:
    """The parser takes `to METRIC` for a clause if an intervention stands before it."""
    *before, last = does.parts
    if isinstance(last, ast.Intervention) and last.clauses and last.clauses[-1].word == "to":
        metric = last.clauses[-1].value
        does = replace(does, parts=(*before, replace(last, clauses=last.clauses[:-1])))
    return ast.Trace(span, name, does, metric, *rest)


def _interventions(self: Builder, span: Span, parts: tuple[Any, ...]) -> ast.Interventions:
    """Parts and what joins them stand in turn."""
    return ast.Interventions(span, parts[::2], parts[1::2])


def _sourced_pairs(
    self: Builder,
    span: Span,
    prompts: ast.Identifier,
    base: ast.Identifier,
    sources: tuple[ast.NamedPattern, ...],
    options: tuple[ast.PairOption, ...],
) -> ast.PatternPairs:
    return ast.PatternPairs(span, prompts, base, "<-", sources[0].pattern, options, sources)


_SPECIAL: dict[str, Callable[..., ast.Node]] = {
    "defined": _defined,
    "interventions": _interventions,
    "sourced_pairs": _sourced_pairs,
    "string": _string,
    "trace": _trace,
}
