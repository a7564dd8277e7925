"""Sets as a program writes them: `heads[7..9]`, `{7.3, 8.6}`, `resid_post[layers]`, and what of
them stands at a stage of a path or behind a verb."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from causaldsl.check.context import Context
from causaldsl.check.kinds import describe
from causaldsl.check.places import HeadValue, Place, Point, SiteOwner
from causaldsl.check.sets import (
    RANGE_WORDS,
    Members,
    Of,
    Role,
    not_a_member,
    of_one,
    set_of,
    sites,
    sites_of,
)
from causaldsl.check.unknown import unknown
from causaldsl.check.values import MlpNumber, constant
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show


def stage_places(context: Context, node: ast.Expression, role: Role) -> list[Place]:
    """The sites that an expression names, with their positions: of a stage, or behind a verb."""
    value = context.value(node)
    if not isinstance(value, SiteOwner) or role == "attends":
        value = of_one(value, context.shapes(node.span))
    if isinstance(node, ast.Number):
        raise _no_head(node)
    if not isinstance(value, Members):
        value = context.as_place(value, node, positioned=role == "acts")
    found = sites_of(value, node, role)
    if role == "attends" and not all(place.site.is_pattern for place in found):
        raise wrong(
            "wrong-kind",
            f"`{show(node)}` is no head: only heads attend",
            node.span,
            "write a head at a query, head[7.3] @ END, or several, heads[7..9] @ END",
        )
    seen: dict[Place, None] = {}
    known = not unknown(context, node)
    for place in found:
        if place.position is None:
            raise wrong(
                "no-position",
                f"`{show(node)}` does not say at which position",
                node.span,
                "add one, such as `@ END`",
            )
        if place in seen and known:
            raise wrong("listed-twice", f"{place} is listed twice", node.span, "list it once")
        seen[place] = None
    return list(seen)


def all_of(context: Context, word: Of, span: Span, layers: Sequence[int] | None = None) -> Members:
    """What `heads`, `kv_heads`, `mlps` or `layers` stands for, in all layers or in some."""
    shapes = context.shapes(span)
    if word != "layers" and not shapes.text:
        raise wrong("no-such-site", f"{shapes.name} is a toy model without heads", span)
    layers = range(shapes.n_layers) if layers is None else layers
    if word == "mlps":
        return Members(word, tuple(MlpNumber.of(layer, span) for layer in layers), shapes)
    if word == "layers":
        return Members(word, tuple(constant(layer, span) for layer in layers), shapes)
    count = shapes.n_heads if word == "heads" else shapes.n_kv_heads
    owner = word.removesuffix("s")
    heads = [HeadValue(layer, head, word=owner) for layer in layers for head in range(count)]
    return Members(word, tuple(heads), shapes)


def set_in_braces(context: Context, node: ast.SetOf | ast.ListOf) -> Members:
    """`{7.3, 8.6}`, `{IO, END-1}`, `{mlp_in[21] @ END, head[23.5].q @ S2}`."""
    found = [(_member(context, item), item.span) for item in node.items]
    return set_of(found, context.shapes(node.span), node.span, known=not unknown(context, node))


def _member(context: Context, node: ast.Expression) -> Any:
    """A head `7.3`, a number, a named position with an offset, or whatever else it stands for."""
    if isinstance(node, ast.Number) and re.fullmatch(r"\d+\.\d+", node.text):
        layer, _, head = node.text.partition(".")
        return HeadValue(int(layer), int(head), node.text)
    if isinstance(node, ast.Range):
        values = whole_range(context, node)
        with located(node.span):
            context.limits.check("cells", len(values), "sweep-size", "this has {} members")
        shapes = context.shapes(node.span)
        return Members("numbers", tuple(constant(i, node.span) for i in values), shapes)
    first = node
    while isinstance(first, ast.BinarySum | ast.BinaryProduct):
        first = first.left
    if isinstance(first, ast.Name) and not is_known(context, first.text):
        point = Point.parsed(show(node).replace(" ", ""))
        if point is not None:
            return point
        raise not_a_member(node.span)
    value = context.value(node)
    if isinstance(value, SiteOwner):
        return context.as_place(value, node)  # says that one of its activations is to be named
    return value


def is_known(context: Context, name: str) -> bool:
    """Whether a name is anything but a position of prompts."""
    return context.knows(name) or name in context.scope.reserved() - {"all"}


def site_set(context: Context, word: str, members: Members, node: ast.Index) -> Members:
    """`resid_post[layers]`: a site in every layer; `head[movers]`: heads, of which a part is taken.

    Raises an error for what the brackets of this word can't hold.
    """
    owner = {"head": "heads", "kv_head": "kv_heads"}.get(word)
    if owner is not None:
        if members.of not in (owner, "heads") or any(
            m.word not in ("", word) for m in members.members
        ):
            what = f"`{show(node.at)}` is {members.kind}"
            raise wrong("head-index", what, node.at.span, f"write {word}[..] of {owner}")
        return Members(owner, members.members, members.shapes)  # type: ignore[arg-type]
    if members.of not in ("layers", "numbers", "mlps"):
        message = f"`{show(node.at)}` is {members.kind}, not of layers"
        raise wrong("not-an-integer", message, node.at.span, "write layers, 20..29 or {20, 22}")
    places = []
    for member in members.members:
        site = Site(word, _layer(member, node))
        with located(node.span):
            site.check(members.shapes)
        places.append(Place(site, None, node.span))
    return sites(places, members.shapes)


def _layer(member: Any, node: ast.Index) -> int:
    number = member.number if not isinstance(member, HeadValue) else None
    if number is None or number != int(number):
        message = f"`{show(node.at)}` has a member that is not a layer"
        raise wrong("not-an-integer", message, node.at.span, "layers are whole numbers")
    return int(number)


def layers_of(context: Context, node: ast.Index) -> Sequence[int]:
    """The layers of `heads[7..9]` or `layers[3]`, all of which the model has."""
    shapes = context.shapes(node.span)
    value = None if isinstance(node.at, ast.Range) else context.value(node.at)
    if isinstance(node.at, ast.Range):
        layers: Sequence[int] = whole_range(context, node.at)
    elif isinstance(value, Members):
        layers = [_layer(member, node) for member in value.members]
    else:
        layer = context.integer(node.at, "a layer")
        layers = range(layer, layer + 1)
    for layer in layers:
        if not 0 <= layer < shapes.n_layers:
            raise wrong(
                "layer-range",
                f"{shapes.name} has no layer {layer}",
                node.at.span,
                f"its layers are 0 to {shapes.n_layers - 1}",
            )
    if not layers:
        raise wrong("empty-range", f"`{show(node)}` is empty", node.span, "write 2..3, not 3..2")
    return layers


def whole_range(context: Context, node: ast.Range) -> range:
    first = context.integer(node.first, "the start of a range")
    last = context.integer(node.last, "the end of a range")
    if last < first:
        raise wrong("empty-range", f"`{show(node)}` is empty", node.span, "write 2..3, not 3..2")
    return range(first, last + 1)


def any_set(context: Context, node: ast.Expression, example: str) -> Members:
    """The value of an expression that must be a set, such as the ``example``."""
    value = context.value(node)
    if isinstance(value, Members):
        return value
    message = f"`{show(node)}` is {describe(value)}, not a set"
    raise wrong("not-a-set", message, node.span, f"write it in braces, such as {example}")


def components(context: Context, node: ast.Expression) -> Members:
    """Heads or MLPs: `heads`, `mlps[2]`, `{7.3, 8.6}`, or a name of such a set."""
    if isinstance(node, ast.Number):
        node = ast.SetOf(node.span, (node,))
    value = context.value(node)
    if not isinstance(value, SiteOwner):
        value = of_one(value, context.shapes(node.span))
    if not isinstance(value, Members) or value.of not in ("heads", "kv_heads", "mlps"):
        raise wrong(
            "not-a-set",
            f"`{show(node)}` names neither heads nor MLPs",
            node.span,
            "write heads, heads[7..9], mlps[7..9], kv_heads[7..9] or a set such as {7.3, 8.6}",
        )
    return value


def is_range_word(node: ast.Node) -> bool:
    return isinstance(node, ast.Name) and node.text in RANGE_WORDS


def _no_head(node: ast.Expression) -> Exception:
    return wrong(
        "not-a-member",
        f"`{show(node)}` does not say layer and head",
        node.span,
        "write heads with a dot, such as {7.3, 8.6}",
    )


def check_sites(places: Sequence[Place], shapes: ModelDims, span: Span) -> None:
    """Every site must be in the model: a range of heads was, a set of them may not be."""
    with located(span):
        for place in places:
            place.site.check(shapes)
