"""`metric`: an expression over logits and probabilities, under a name that `report` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from causaldsl.check.context import Context, checks
from causaldsl.check.kinds import Value
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, suggest, wrong
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.expressed import (
    ARITHMETIC,
    OF_ANSWERS,
    READS,
    Both,
    Constant,
    Expressed,
    Part,
    Read,
    Size,
)
from causaldsl.vocabulary.types import NumberType

_WRITE = 'write one such as logit(answer) - logit(foil), prob([" he", " He"]) or log_prob(answer)'


@dataclass(frozen=True)
class CheckedMetric(Value):
    """A metric of the program's own."""

    kind = "a metric"
    way_out = "report it in a measure or sweep"
    name: str
    metric: Expressed


@checks(ast.Metric)
def metric(context: Context, node: ast.Metric) -> CheckedMetric:
    name = node.name.text
    context.scope.check_free(name, node.name.span)
    if name in (*context.words.metrics, *READS, *OF_ANSWERS):
        what = "a metric" if name in context.words.metrics else "a word"
        message = f"`{name}` is {what} of the language"
        raise wrong("reserved-name", message, node.name.span, f"choose another name: `my_{name}`")
    if not context.shapes(node.span).text:
        message = "a toy model has no logits of words"
        raise wrong("toy-text", message, node.span, "report output")
    expression = _part(context, node.value)
    if not any(isinstance(part, Read) for part in expression.walk()):
        message = f"`{show(node.value)}` is the same in every run"
        raise wrong("constant-metric", message, node.value.span, _WRITE)
    found = Expressed(name, expression, show(node.value))
    context.words.metrics[name] = found
    return CheckedMetric(name, found)


def _part(context: Context, node: ast.Expression) -> Part:
    """An expression as it is worked out pair by pair."""
    value: Any = None
    if isinstance(node, ast.BinarySum | ast.BinaryProduct):
        left, right = _part(context, node.left), _part(context, node.right)
        if not (isinstance(left, Constant) and isinstance(right, Constant)):
            return Both(node.operator, left, right)
        if node.operator == "/" and right.value == 0:
            raise wrong("division", "division by zero", node.span, "divide by something else")
        return Constant(ARITHMETIC[node.operator](left.value, right.value))
    if isinstance(node, ast.Negative):
        inner = _part(context, node.value)
        if isinstance(inner, Constant):
            return Constant(-inner.value)
        return Both("-", Constant(0.0), inner)
    if isinstance(node, ast.Call) and isinstance(node.function, ast.Name):
        return _called(context, node, node.function.text)
    if isinstance(node, ast.Name | ast.Number):
        if isinstance(node, ast.Name) and node.text in (*OF_ANSWERS, *READS):
            raise wrong("wrong-kind", f"`{node.text}` is no number here", node.span, _WRITE)
        value = context.value(node)
    if isinstance(value, CheckedMetric):
        return value.metric.expression
    number = value.number if isinstance(value, Applied) else None
    if number is None or not isinstance(value.type, NumberType):
        message = f"`{show(node)}` is no logit, no probability and no number known before the run"
        raise wrong("bad-metric", message, node.span, _WRITE)
    return Constant(float(number))


def _called(context: Context, node: ast.Call, word: str) -> Part:
    if word not in (*READS, "abs"):
        known = [*READS, "abs"]
        message = f"a metric can't be made of `{word}`"
        raise wrong("bad-metric", message, node.function.span, suggest(word, known, "functions"))
    if len(node.arguments) != 1 or isinstance(node.arguments[0], ast.Option):
        raise wrong("too-many", f"`{word}` takes one operand here", node.span, _WRITE)
    (argument,) = node.arguments
    assert isinstance(argument, ast.Expression)
    if word == "abs":
        part = _part(context, argument)
        return Constant(abs(part.value)) if isinstance(part, Constant) else Size(part)
    if isinstance(argument, ast.Name) and argument.text in OF_ANSWERS:
        return Read(word, argument.text)  # type: ignore[arg-type]
    texts = argument.items if isinstance(argument, ast.ListOf) else (argument,)
    found = [_token(context, text) for text in texts]
    if not found:
        raise wrong("bad-metric", f"`{word}` of no tokens", argument.span, _WRITE)
    return Read(word, tuple(dict.fromkeys(found)))  # type: ignore[arg-type]


def _token(context: Context, node: ast.Expression) -> int:
    """The token of a text."""
    text = node.text if isinstance(node, ast.String) else None
    if isinstance(node, ast.Name) and context.knows(node.text):
        text = context.value(node)
    if not isinstance(text, str):
        message = f"`{show(node)}` is neither `answer`, `foil` nor a text"
        raise wrong("wrong-kind", message, node.span, _WRITE)
    return _single(context, text, node.span)


def _single(context: Context, text: str, span: Span) -> int:
    tokens = context.tokens(span)
    token = tokens.single(text)
    if token is None:
        shown = "|".join(tokens.pieces(text))
        spaced = tokens.single(" " + text) is not None
        raise wrong(
            "not-one-token",
            f'"{text}" is not one token: {shown}',
            span,
            f'" {text}", with a space, is one' if spaced else "name a text that is one token",
        )
    return token
