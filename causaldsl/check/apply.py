"""Applying a word: matching arguments to its operands and options, then checking dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from causaldsl.check.agreement import check_learned, with_classes
from causaldsl.check.context import MAKERS, Context, Located, Operands
from causaldsl.check.dictionaries import CheckedDictionary
from causaldsl.check.files import missing_file
from causaldsl.check.operands import operand_value
from causaldsl.check.places import Place
from causaldsl.check.values import Applied, CheckedTrace
from causaldsl.diagnostics import Mistake, Span, located, wrong
from causaldsl.model.cache import sha256
from causaldsl.model.matrices import check_stored, matrix_sizes
from causaldsl.model.shapes import ModelDims
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.base import Maker, Operand, OperandMistake, Word
from causaldsl.vocabulary.directions import TokenRow
from causaldsl.vocabulary.foreign import word_meant
from causaldsl.vocabulary.matrices import MATRIX_WORDS, Matrix
from causaldsl.vocabulary.types import MatrixType, NumberType, SiteType, SubspaceType, TraceType

Named = list[tuple[ast.Identifier, Any]]


def apply(
    context: Context, cls: type[Word], positional: list[Any], named: Named, span: Span
) -> Applied:
    """A word with its arguments as written: one operation."""
    word, operands = _matched(context, cls, positional, named, span)
    return build(context, word, operands, span)


def apply_at(
    context: Context,
    cls: type[Word],
    places: Sequence[Place],
    named: Named,
    node: ast.Intervention,
    also: Operands = MappingProxyType({}),
) -> tuple[Applied, ...]:
    """A verb at each of some sites; its clauses are read once. ``also`` are more operands."""
    given = [Located(place, node.site.span) for place in places]
    word, operands = _matched(context, cls, [], named, node.span, {"site": given[0], **also})
    return tuple(build(context, word, {**operands, "site": at}, node.span) for at in given)


def make(context: Context, cls: type[Maker], node: ast.Call) -> Any:
    """What a maker makes. A :class:`Mistake` that has no place yet is at the call."""
    word, operands = _matched(context, cls, *arguments(node), node.span)
    if cls.on_text and context.program.model is not None:
        context.tokens(node.span)  # a toy model has none
    maker = next(MAKERS[base] for base in cls.__mro__ if base in MAKERS)
    with located(node.span):
        return maker(context, word, operands)


def made(context: Context, node: ast.Node, kind: type) -> Any:
    """What an expression makes, if it calls a maker of this kind of data; else None."""
    if not isinstance(node, ast.Call) or not isinstance(node.function, ast.Name):
        return None
    cls = context.words.makers.get(node.function.text)
    return make(context, cls, node) if cls is not None and isinstance(cls.gives, kind) else None


def build(context: Context, word: Word, operands: Operands, span: Span) -> Applied:
    """Check the dimensions and make the application."""
    types = {name: _type(context, value) for name, (value, _) in operands.items()}
    try:
        result = word.result(types)
    except OperandMistake as mistake:
        place = operands[mistake.operand].span if mistake.operand in operands else span
        with located(place):
            raise Mistake(mistake.code, mistake.message, mistake.help) from None
    # A list of numbers is one of the word's options, and so no operand of the operation.
    kept = tuple((n, v) for n, (v, _) in operands.items() if n not in word.computed)
    applied = with_classes(Applied(word, kept, result, span))
    if applied.operand("on") is not None:
        check_learned(context, applied)
    return applied


def matrix(
    name: str, layer: int | None, head: int | None, shapes: ModelDims, span: Span
) -> Applied:
    """One of the model's matrices."""
    entry = MATRIX_WORDS[name]
    if layer is not None and not 0 <= layer < shapes.n_layers:
        raise wrong(
            "layer-range",
            f"{shapes.name} has no layer {layer}",
            span,
            f"its layers are 0 to {shapes.n_layers - 1}",
        )
    count = shapes.n_kv_heads if entry.index == "kv_head" else shapes.n_heads
    if not shapes.text and (name not in ("W_in", "W_out") or not shapes.d_mlp):
        help = "it has W_in and W_out" if shapes.d_mlp else "its sites are its heads' z"
        raise wrong("no-matrix", f"{shapes.name} has no {name}", span, help)
    if head is not None and not 0 <= head < count:
        what = "key-value heads" if entry.index == "kv_head" else "heads"
        raise wrong(
            "head-range",
            f"{shapes.name} has no head {head} in {name}",
            span,
            f"each layer has {what} 0 to {count - 1}",
        )
    with located(span):
        check_stored(name, layer, shapes)
    inputs, outputs = matrix_sizes(name, layer, shapes)
    word = Matrix(name=name, layer=layer, head=head, inputs=inputs, outputs=outputs)
    return Applied(word, (), MatrixType(inputs, outputs), span)


def arguments(node: ast.Call) -> tuple[list[Any], Named]:
    """The arguments of a call without a name, and those with one."""
    positional = [a for a in node.arguments if not isinstance(a, ast.Option)]
    return positional, [(a.name, a.value) for a in node.arguments if isinstance(a, ast.Option)]


def _matched(
    context: Context,
    cls: type[Word],
    positional: list[Any],
    named: Named,
    span: Span,
    given: Operands = MappingProxyType({}),
) -> tuple[Any, dict[str, Located]]:
    """A word with its options, and its operands by name with their places.

    ``given`` are those that have been read.
    """
    operands = {operand.name: operand for operand in cls.operands}
    nodes = _match_positional(cls, positional, span)
    options: dict[str, Any] = {}
    known_later: dict[str, Located] = {}
    for identifier, value in named:
        name = identifier.text
        if name in nodes or name in options or name in given:
            raise wrong("option-twice", f"`{name}` is given twice", identifier.span)
        if name in operands:
            nodes[name] = value
        elif name in cls.amounts and (amount := _amount(context, cls, value)) is not None:
            known_later[name], options[name] = Located(amount, value.span), 1.0
        elif name in cls.options():
            options[name] = _option(context, value)
        else:
            keywords = [o.name for o in cls.operands if o.keyword]
            raise wrong(
                "unknown-option",
                f"`{cls.word}` has no option `{name}`",
                identifier.span,
                word_meant(name, [*keywords, *cls.options()], "options"),
            )
    for operand in cls.operands:
        if operand.required and operand.name not in {*nodes, *given}:
            raise wrong(
                "missing-operand",
                f"`{cls.word}` needs {_asked(operand, cls.changes)}",
                span,
                f"write {cls.signature()}",
            )
    values = (
        dict(given)
        | known_later
        | {name: operand_value(context, cls, operands[name], node) for name, node in nodes.items()}
    )
    known = _from_operands(context, cls, values)
    return _with_options(cls, options | known, span), values


def _from_operands(context: Context, cls: type[Word], values: dict[str, Located]) -> dict[str, Any]:
    """Operands that are known now, and so are options of the operation: lists and files."""
    if "path" in values and "digest" in cls.model_fields:
        written, span = values.pop("path")
        with located(span):
            return _tensor_header(context.path(written), written)
    known = {name: values[name].value for name in cls.computed if name in values}
    if "keys" in cls.computed and "from" in values:  # no option can be called so in Python
        known["keys"] = values.pop("from").value
    return known


def _type(context: Context, value: Any) -> Any:
    if isinstance(value, Applied):
        return value.type
    if isinstance(value, Place):
        return SiteType(value.site.width(context.shapes(value.span)))
    if isinstance(value, CheckedDictionary):
        return value.type
    if isinstance(value, CheckedTrace):
        return TraceType(frozenset(value.components))
    if isinstance(value, TokenRow):
        return SubspaceType(value.width, 1)
    if isinstance(value, tuple):
        return tuple(_type(context, part) for part in value if isinstance(part, Applied))
    return None


def _match_positional(cls: type[Word], positional: list[Any], span: Span) -> dict[str, Any]:
    places = [operand for operand in cls.operands if not operand.keyword]
    if places and places[-1].kind == "subspaces":
        return {places[-1].name: positional} if positional else {}
    if len(positional) > len(places):
        extra = positional[len(places)]
        count = f"{len(places)} operand{'s' * (len(places) != 1)}"
        named = [operand.name for operand in cls.operands if operand.keyword and operand.required]
        way = cls.otherwise or f"write {cls.signature()}"
        way = f"say what it is: {named[0]}: {show(extra)}" if named else way
        message = f"`{cls.word}` takes {count}, not {len(positional)}"
        if named:
            message = f"`{cls.word}` takes {count} without a name, not {len(positional)}"
        raise wrong("too-many", message, extra.span, way)
    return {operand.name: node for operand, node in zip(places, positional, strict=False)}


_ASKED = {
    "attention": "a head at a query",
    "class": "a class of prompts",
    "end": "a site",
    "nodes": "a set of heads, MLPs or edges",
    "outside": "source, mean, mean(PAIRS.base) or zero",
    "integers": "a list",
    "pairs": "pairs",
    "token": "a token in quotes",
    "tokens": "positions of tokens",
    "texts": "a file or a list of texts",
    "values": "numbers",
}


def _asked(operand: Operand, clause: bool) -> str:
    kind = _ASKED.get(operand.kind, f"a {operand.kind}")
    written = f"{operand.name}{'' if clause else ':'} ..."
    return f"`{written}`, {kind}" if operand.keyword else kind


def _option(context: Context, node: Any) -> Any:
    """An option's value: a number known before the run, a list of numbers, or a word."""
    if isinstance(node, ast.ListOf):
        return tuple(_option(context, item) for item in node.items)
    if isinstance(node, ast.String):
        return node.text
    if isinstance(node, ast.Name) and not context.knows(node.text):
        return node.text
    if isinstance(node, ast.Name) and isinstance(context.value(node), str):
        return str(context.value(node))
    number = context.of_type(node, NumberType, "a number").number
    if number is None:
        raise wrong("not-constant", f"`{show(node)}` is not known before the run", node.span)
    return int(number) if number == int(number) else number


def _amount(context: Context, cls: type[Word], node: Any) -> Applied | None:
    """A number that only the run knows; None for one that is known, or no number at all."""
    if isinstance(node, ast.Name) and not context.knows(node.text):
        return None
    value = context.value(node)
    number = isinstance(value, Applied) and isinstance(value.type, NumberType)
    if not number or value.number is not None:
        return None
    numbers = [part for part in value.walk() if isinstance(part.type, NumberType)]
    if any(part.word.estimated or part.operand("on") is not None for part in numbers):
        raise wrong(
            "measured-amount",
            f"`{show(node)}` is an estimate from pairs, and `{cls.word}` needs an exact number",
            node.span,
            "use a constant, or a number such as norm(v) or cos(u, v)",
        )
    found: Applied = value
    return found


def _with_options(cls: type[Word], options: dict[str, Any], span: Span) -> Word:
    try:
        return cls(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            raise wrong(
                "missing-option", f"`{cls.word}` needs `{name}`", span, f"write {cls.signature()}"
            ) from None
        reason = first["msg"].replace("Input should be", "it should be")
        message = f"`{name}` of `{cls.word}` can't be {_short(first['input'])}"
        raise wrong("bad-option", message, span, reason) from None


def _short(given: Any) -> str:
    """What was given to an option, without hundreds of digits."""
    long = isinstance(given, int) and abs(given) >= 10**15
    return f"{Decimal(given):.3g}" if long else repr(given)


def _tensor_header(path: Path, written: str) -> dict[str, Any]:
    """Shape and digest of a direction in a safetensors file, without torch."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise missing_file(written, path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            names = list(file.keys())
            if not names:
                raise Mistake("bad-file", f"{written} holds no tensor", "write a direction into it")
            name = "basis" if "basis" in names else names[0]
            if len(names) > 1 and name != "basis":
                raise Mistake(
                    "which-tensor",
                    f"{written} holds {len(names)} tensors",
                    "call the direction's tensor `basis`",
                )
            shape = list(file.get_slice(name).get_shape())
    except (SafetensorError, OSError) as error:
        raise Mistake(
            "bad-file",
            f"{written} is not a safetensors file: {error}",
            "write one with safetensors.torch.save_file",
        ) from None
    if len(shape) not in (1, 2) or 0 in shape or (len(shape) == 2 and shape[1] > shape[0]):
        transposed = len(shape) == 2 and shape[1] > shape[0] > 0
        raise Mistake(
            "bad-file",
            f"{written} holds a tensor of shape {shape}",
            f"a direction has shape (width,) or (width, rank){'; transpose it' * transposed}",
        )
    digest = sha256(path)[:16]
    rank = shape[1] if len(shape) == 2 else 1
    return {"path": str(path), "digest": digest, "width": shape[0], "rank": rank}


def each_once(items: Iterable[ast.Node], words: Mapping[Any, str]) -> dict[type, Any]:
    """The items in a statement's braces by their class; ``words`` says how each is written."""
    found: dict[type, Any] = {}
    for item in items:
        if type(item) in found:
            word = words[type(item)]
            raise wrong("option-twice", f"`{word}` is given twice", item.span, "give it once")
        found[type(item)] = item
    return found
