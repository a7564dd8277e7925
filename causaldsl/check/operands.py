"""Reading an operand: one function for each kind that a word's operands can have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from causaldsl.check.answered import Asked
from causaldsl.check.attention import tokens
from causaldsl.check.attributed import CheckedAttribution
from causaldsl.check.context import Context, Located
from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.check.kinds import describe
from causaldsl.check.nodes import members_of
from causaldsl.check.places import Place
from causaldsl.check.sets import Members
from causaldsl.check.stages import stage_places
from causaldsl.check.values import Applied, CheckedTrace, ClassName
from causaldsl.diagnostics import located, wrong
from causaldsl.model.catalog import ModelSpec
from causaldsl.model.matrices import check_stored, matrix_sizes
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import Operand, OperandKind, Word
from causaldsl.vocabulary.directions import TokenRow
from causaldsl.vocabulary.types import MatrixType, NumberType, SubspaceType

Read = Callable[[Context, Any, type[Word]], Any]


def operand_value(context: Context, cls: type[Word], operand: Operand, node: Any) -> Located:
    """The value of an operand of a word, and where it stands; ``node`` may be a list of nodes."""
    span = node[0].span.to(node[-1].span) if isinstance(node, list) else node.span
    return Located(READ[operand.kind](context, node, cls), span)


def _subspaces(context: Context, nodes: Any, cls: type[Word]) -> Any:
    return tuple(context.of_type(node, SubspaceType, "a subspace") for node in nodes)


def _class(context: Context, node: Any, cls: type[Word]) -> Any:
    if not isinstance(node, ast.Name | ast.String):
        raise wrong(
            "wrong-kind",
            f"`{show(node)}` is not a class of prompts",
            node.span,
            'write a class such as ABB or "two words", or `base` or `source`',
        )
    return ClassName(node.text)


def _text(context: Context, node: Any, cls: type[Word]) -> str:
    text = context.value(node)
    if not isinstance(text, str):
        what = next(o.kind for o in cls.operands if o.kind in ("path", "text"))
        way = f"write it in quotes: {cls.example or f'{cls.word}(..)'}"
        raise wrong("wrong-kind", f"`{show(node)}` is not a {what}", node.span, way)
    return text


def _token(context: Context, node: Any, cls: type[Word]) -> TokenRow:
    """One of the model's tokens, by its text."""
    text = context.value(node)
    if not isinstance(text, str):
        way = f"write it in quotes: {cls.example}"
        raise wrong("wrong-kind", f"`{show(node)}` is not a text", node.span, way)
    tokens, shapes = context.tokens(node.span), context.shapes(node.span)
    found = tokens.single(text)
    if found is None:
        pieces = " | ".join(tokens.pieces(text))
        way = f"its tokens are {pieces}; most words are one token with a space before them"
        raise wrong("not-one-token", f"{show(node)} is not one token", node.span, way)
    with located(node.span):
        check_stored("W_U", None, shapes)
    return TokenRow(text, found, matrix_sizes("W_U", None, shapes)[0])


def _texts(context: Context, node: Any, cls: type[Word]) -> Any:
    value = context.value(node)
    several = isinstance(value, tuple) and value and all(isinstance(text, str) for text in value)
    if not isinstance(value, str) and not several:
        message = f"`{show(node)}` is {describe(value)}, neither a file's name nor a list of texts"
        raise wrong("bad-lexicon", message, node.span, f"write {cls.example}")
    return value


def _trace(context: Context, node: Any, cls: type[Word]) -> Any:
    trace = context.value(node)
    if not isinstance(trace, CheckedTrace):
        raise wrong("wrong-kind", f"`{show(node)}` is not a trace", node.span)
    return trace


def _attribution(context: Context, node: Any, cls: type[Word]) -> Any:
    found = context.value(node)
    if not isinstance(found, CheckedAttribution):
        raise wrong("wrong-kind", f"`{show(node)}` is not an attribution", node.span)
    return found


def _model(context: Context, node: Any, cls: type[Word]) -> Any:
    model = context.value(node)
    if not isinstance(model, ModelSpec):
        message = f"`{show(node)}` is not the model"
        raise wrong("wrong-kind", message, node.span, f"write {cls.example}")
    return model


def _cells(context: Context, node: Any, cls: type[Word]) -> Any:
    values = getattr(context.value(node), "values", None)
    if values is None:
        raise wrong(
            "wrong-kind",
            f"`{show(node)}` is neither a metric over a sweep nor an arm of a table",
            node.span,
            "write max(sweep_name.metric) or max(table_name.arm)",
        )
    return values


def _values(context: Context, node: Any, cls: type[Word]) -> Any:
    value = context.value(node)
    items = value if isinstance(value, tuple) else (value,)
    numbers = [item.number for item in items if isinstance(item, Applied)]
    if len(numbers) < len(items) or None in numbers:
        raise wrong("wrong-kind", f"`{show(node)}` is not a list of numbers", node.span)
    return tuple(float(number) for number in numbers if number is not None)


def _integers(context: Context, node: Any, cls: type[Word]) -> Any:
    value = None if isinstance(node, ast.ListOf) else context.value(node)
    if isinstance(value, Members) and value.of == "numbers":  # top(5, found) of neurons
        return tuple(int(member.number) for member in value.members)
    return tuple(context.integer(item, "an index") for item in _items(node))


def _coordinates(context: Context, node: Any, cls: type[Word]) -> Any:
    numbers = [context.of_type(item, NumberType, "a number") for item in _items(node)]
    for item, number in zip(_items(node), numbers, strict=True):
        if number.number is None:
            raise wrong("not-constant", f"`{show(item)}` is not known before the run", item.span)
    return tuple(float(number.number) for number in numbers)


def _items(node: Any) -> tuple[ast.Expression, ...]:
    if not isinstance(node, ast.ListOf):
        raise wrong(
            "wrong-kind",
            f"`{show(node)}` is not a list",
            node.span,
            "write numbers in brackets: [0, 7]",
        )
    return node.items


def _site(context: Context, node: Any, cls: type[Word]) -> Place:
    """One site with its position. What is found by gradients at one may be looked for among many
    in another way, which the message names."""
    value = context.value(node)
    if isinstance(value, Members) and value.of in _COMPONENTS and cls.runs == "gradients":
        raise wrong(
            "several-sites",
            f"`{cls.word}` works at one site, and `{show(node)}` is {value.kind}",
            node.span,
            f"which of them matter is estimated by `attribution found to logit_diff on PAIRS "
            f"{{ {_COMPONENTS[value.of]} }}`: top(3, found) is a set of them, and "
            "`only top(3, found) else source` runs the model on it",
        )
    return context.as_place(value, node)


_COMPONENTS = {
    "heads": "over heads",
    "mlps": "over mlps",
    "sites": "over heads, mlps",
    "edges": "edges",
}
"""Sets that are attributed to, and how an attribution writes such ones."""


def _attending(context: Context, node: Any, cls: type[Word]) -> Any:
    first, *others = stage_places(context, node, "attends")
    if others:
        count = len(others) + 1
        message = f"`{show(node)}` names {count} places, and one is wanted here"
        raise wrong("several-sites", message, node.span, "loop over them in a table")
    return first


def _end(context: Context, node: Any, cls: type[Word]) -> Any:
    """One end of an edge: a site of the model at no position of its own."""
    place = context.place(node, positioned=False)
    if place.position is not None:
        way = "leave out `@` and what follows"
        raise wrong("edge-position", "an edge is there at every position", node.span, way)
    return place.site


def _dictionary(context: Context, node: Any, cls: type[Word]) -> Any:
    found = context.value(node)
    if not isinstance(found, CheckedDictionary):
        message = f"`{show(node)}` is {describe(found)}, not a dictionary"
        raise wrong("wrong-kind", message, node.span, f"write {cls.example} of a `dictionary f`")
    return found


def _features(context: Context, node: Any, cls: type[Word]) -> Any:
    place = context.place(node)
    if place.site.dictionary is None:
        message = f"{place.site} has no features; a dictionary's has"
        raise wrong("wrong-kind", message, node.span, f"write {cls.example}")
    if place.site.numbers is not None and getattr(cls, "of_all", False):
        message = f"`{cls.word}` is of all features of a dictionary, and `{show(node)}` names some"
        raise wrong("wrong-kind", message, node.span, f"write {cls.example}")
    return place


def _asked(cls: type[Word]) -> Asked:
    """What a word asks of the answers of its pairs."""
    if cls.one_answer:
        return "one"
    return "foils" if cls.runs == "gradients" else "nothing"


READ: dict[OperandKind, Read] = {
    "site": _site,
    "subspace": lambda context, node, cls: context.of_type(node, SubspaceType, "a subspace"),
    "subspaces": _subspaces,
    "matrix": lambda context, node, cls: context.of_type(node, MatrixType, "a matrix"),
    "number": lambda context, node, cls: context.of_type(node, NumberType, "a number"),
    "pairs": lambda context, node, cls: context.pair_set(node, asked=_asked(cls)),
    "prompts": lambda context, node, cls: context.pair_set(node, answers=False),
    "class": _class,
    "path": _text,
    "text": _text,
    "texts": _texts,
    "trace": _trace,
    "attribution": _attribution,
    "model": _model,
    "layer": lambda context, node, cls: context.integer(node, "a layer"),
    "numbers": _cells,
    "values": _values,
    "integers": _integers,
    "coordinates": _coordinates,
    "attention": _attending,
    "dictionary": _dictionary,
    "features": _features,
    "feature": lambda context, node, cls: context.integer(node, "a feature"),
    "tokens": lambda context, node, cls: tokens(context, node),
    "end": _end,
    "nodes": lambda context, node, cls: members_of(context, node),
    "outside": lambda context, node, cls: node,
    "token": _token,
}
