"""Attention: the tokens that a program names as keys, and whether heads can attend to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from causaldsl.check.context import Context
from causaldsl.check.pairs import PairSet, Prompt
from causaldsl.check.places import Place, PositionRef
from causaldsl.check.sets import Members
from causaldsl.check.values import Applied
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.interventions import Ablate, Cut, Patch, PatchFrom


def tokens(context: Context, node: Any) -> tuple[str, ...]:
    """Positions as they are written: `S2`, `IO..END`, `{S2, IO}`, `all`, or a set by its name."""
    named = context.scope.values.get(node.text) if isinstance(node, ast.Name) else None
    if isinstance(named, Members):
        context.scope.used.add(node.text)
        if named.of == "positions":
            return tuple(map(str, named.members))
    if isinstance(node, ast.SetOf):
        return tuple(text for item in node.items for text in tokens(context, item))
    ends = (node.first, node.last) if isinstance(node, ast.Range) else (node,)
    texts = [show(end).replace(" ", "") for end in ends]
    simple = ast.Name | ast.Number | ast.BinarySum
    if isinstance(named, Members) or not all(isinstance(end, simple) for end in ends):
        raise wrong(
            "wrong-kind",
            f"`{show(node)}` names no tokens",
            node.span,
            "write a position, a stretch or a set: S2, IO..END, {S2, IO}",
        )
    with located(node.span):
        points = [str(context.point(text)) for text in texts]
    return ("..".join(points),)


def keys_in(keys: Sequence[str], prompt: Prompt) -> set[int]:
    """The token indices of these positions in one prompt."""
    return {index for key in keys for index in PositionRef.parse(key).resolve(prompt)}


def check_keys(keys: Sequence[str], pairs: PairSet, span: Span) -> None:
    """Every position must be in every base."""
    with located(span):
        for base in pairs.side("base"):
            keys_in(keys, base)


def check_pattern(
    applied: Applied, place: Place, pairs: PairSet, shapes: ModelDims, span: Span
) -> None:
    """Whether an intervention on a pattern of attention can be made on these pairs."""
    if not place.site.is_pattern:
        return
    if applied.operand("along") is not None:
        message = f"{place.site} has a number for each token, so it has no directions"
        raise wrong("no-direction", message, span, "patch or ablate it as a whole, or cut it")
    if isinstance(applied.word, Cut):
        _check_cut(applied.word, place, pairs, shapes, span)
    elif isinstance(applied.word, Patch | PatchFrom | Ablate):
        _check_same_tokens(applied, place, pairs, span)


def _check_same_tokens(applied: Applied, place: Place, pairs: PairSet, span: Span) -> None:
    """Values of other prompts fit only where the query and the keys are the same tokens."""
    word = applied.word
    if isinstance(word, Ablate) and word.to == "zero":
        return
    others = isinstance(word, Ablate) or applied.operand("from") is not None
    if (isinstance(word, Ablate) and word.to == "noise") or not place.position:
        raise wrong("bad-option", "shares of attention take no noise", span, "cut it instead")
    bases = pairs.side("base")
    compared = [(base, bases[0]) for base in bases] if others else []
    if isinstance(word, Patch):
        compared = list(zip(bases, pairs.side("source"), strict=True))
    for one, other in compared:
        same = one.length == other.length
        if not same or place.position.resolve(one) != place.position.resolve(other):
            raise wrong(
                "unequal-length",
                f"{place} is of other tokens in another prompt, whose attention does not fit",
                span,
                f"one: {one.text} / another: {other.text}; use pairs of equal length",
            )


def _check_cut(word: Cut, place: Place, pairs: PairSet, shapes: ModelDims, span: Span) -> None:
    """Something must be cut, and something left."""
    assert place.position is not None
    assert place.site.layer is not None
    if shapes.form is None:
        message = f"how heads of {shapes.architecture} attend is not known here"
        way = "`causaldsl models --families` lists the known families"
        raise wrong("unknown-attention", message, span, way)
    check_keys(word.keys, pairs, span)
    attention = shapes.form.blocks[place.site.layer].attention
    cuts = False
    for base in pairs.side("base"):
        gone = keys_in(word.keys, base)
        for query in place.position.resolve(base):
            first = 0 if attention.window is None else max(0, query - attention.window + 1)
            seen = set(range(first, query + 1))
            cuts |= bool(seen & gone)
            if seen <= gone and not attention.sinks:
                raise wrong(
                    "nothing-left",
                    f"{place} could attend to nothing: token {query} sees tokens {first} to "
                    f"{query}, and all are cut",
                    span,
                    "leave it something, such as the first token",
                )
    if not cuts:
        raise wrong(
            "comes-before",
            f"no query of {place} sees what is cut, so nothing would change",
            span,
            "attention goes to the left: cut tokens at or left of the query",
        )
