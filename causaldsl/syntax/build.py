"""From the parser's tree to the syntax tree: every rule makes its class from its children."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from lark import Tree

from causaldsl.diagnostics import Diagnostic, Source, Span, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.grammar import keywords
from causaldsl.syntax.mistakes import keyword

_LISTS = {"any", "some", "commas", "any_commas", "several", "parts", "claims"}
_TOKENS = {"arrow", "operator", "clause_word"}


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
            return cast(ast.Statement, self._made(tree))
        except RecursionError:
            span = self._span(tree)
            first_line = Span(self.source, span.start, span.start + len(span.text.split("\n")[0]))
            raise wrong(
                "syntax",
                "an expression of this statement is nested too deeply",
                first_line,
                "split it with `let`",
            ) from None

    def _made(self, tree: Any) -> Any:
        if not isinstance(tree, Tree):
            return None if tree is None else str(tree)
        parts = [self._made(child) for child in tree.children]
        rule = str(tree.data)
        if rule in _LISTS:
            return tuple(parts)
        if rule in _TOKENS:
            return parts[0]
        special = _SPECIAL.get(rule)
        if special is not None:
            return special(self, self._span(tree), *parts)
        return getattr(ast, rule.title().replace("_", ""))(self._span(tree), *parts)

    def _span(self, tree: Tree[Any]) -> Span:
        # Only a rule that matched nothing has an empty meta, and those are lists.
        meta = tree.meta
        return Span(self.source, self.offset + meta.start_pos, self.offset + meta.end_pos)


def _defined(self: Builder, span: Span, name: str) -> ast.Identifier:
    if name in keywords():
        self.refused += keyword(name, span).diagnostics
    return ast.Identifier(span, name)


def _string(self: Builder, span: Span, text: str) -> ast.String:
    """The text between the quotes, with \\" and \\\\ and other escapes of JSON resolved."""
    try:
        return ast.String(span, str(json.loads(text)))
    except json.JSONDecodeError:
        raise wrong(
            "syntax", "a `\\` here begins no known escape", span, "write `\\\\` for a backslash"
        ) from None


def _trace(
    self: Builder, span: Span, name: Any, does: ast.Interventions, metric: Any, *rest: Any
) -> ast.Trace:
    """The parser takes `to METRIC` for a clause if an intervention stands before it."""
    *before, last = does.parts
    if isinstance(last, ast.Intervention) and last.clauses and last.clauses[-1].word == "to":
        metric = last.clauses[-1].value
        does = replace(does, parts=(*before, replace(last, clauses=last.clauses[:-1])))
    return ast.Trace(span, name, does, metric, *rest)


_SPECIAL: dict[str, Callable[..., ast.Node]] = {
    "defined": _defined,
    "string": _string,
    "trace": _trace,
}
