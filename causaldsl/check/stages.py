"""The stages of a path: sets of sites such as `heads[23..29].q @ END`, and their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from causaldsl.check.context import Context
from causaldsl.check.expressions import position_of
from causaldsl.check.places import HeadValue, Place, SiteOwner
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show

RANGE_WORDS = ("heads", "kv_heads", "mlps")


@dataclass(frozen=True)
class _Group:
    """Heads or MLPs that a word or a set names, before one of their activations is named."""

    word: str
    members: tuple[tuple[int, int], ...]


def is_set(node: ast.Node) -> bool:
    """Whether an expression can name several sites, which no other expression can."""
    if isinstance(node, ast.At):
        return is_set(node.site)
    if isinstance(node, ast.Attribute | ast.Index):
        return is_set(node.owner)
    return isinstance(node, ast.SetOf) or (isinstance(node, ast.Name) and node.text in RANGE_WORDS)


def stage_places(context: Context, node: ast.Expression, sending: bool) -> list[Place]:
    """The sites of a stage with their positions; a head that sends does so by its z."""
    found = _places(context, node, sending)
    seen: set[Place] = set()
    for place in found:
        if place.position is None:
            raise wrong(
                "no-position",
                f"`{show(node)}` does not say at which position",
                node.span,
                "add one, such as `@ END`",
            )
        if place in seen:
            raise wrong("listed-twice", f"{place} is listed twice", node.span, "list it once")
        seen.add(place)
    return found


def _places(context: Context, node: ast.Expression, sending: bool) -> list[Place]:
    if isinstance(node, ast.At) and is_set(node.site):
        places = _places(context, node.site, sending)
        return [
            replace(place, position=position_of(context, node, place), span=node.span)
            for place in places
        ]
    if isinstance(node, ast.Attribute) and is_set(node.owner):
        group = head_group(context, node.owner)
        return [_part(context, group, m, node.name.text, node) for m in group.members]
    if isinstance(node, ast.SetOf) and not _all_heads(context, node):
        return [place for item in node.items for place in _places(context, item, sending)]
    if is_set(node) or _head_value(context, node) is not None:
        return _whole(context, node, sending)
    if isinstance(node, ast.Number):
        raise _no_head(node)
    return [context.place(node, positioned=False)]


def _whole(context: Context, node: ast.Expression, sending: bool) -> list[Place]:
    """Heads or MLPs without a part: what they give when they send; an MLP also receives as one."""
    group = head_group(context, node)
    if group.word == "mlps":
        kind = "mlp_out" if sending else "mlp_in"
        return [Place(Site(kind, layer), None, node.span) for layer, _ in group.members]
    if sending and group.word == "heads":
        return [_part(context, group, member, "z", node) for member in group.members]
    parts = ".k or .v" if group.word == "kv_heads" else ".q, .k or .v"
    raise wrong(
        "head-part",
        f"`{show(node)}` names heads, not one of their inputs",
        node.span,
        f"add {parts}, such as {_example(node)}",
    )


def _example(node: ast.Expression) -> str:
    return f"{show(node)}.{'k' if show(node).startswith('kv') else 'q'} @ END"


def _part(
    context: Context, group: _Group, member: tuple[int, int], part: str, node: ast.Node
) -> Place:
    shapes = context.shapes(node.span)
    if group.word == "mlps":
        raise wrong(
            "no-part",
            f"an MLP has no part `{part}`",
            node.span,
            "write mlps[..] for what MLPs read, mlp_hidden[l] or mlp_out[l] for one site",
        )
    shared = shapes.n_kv_heads != shapes.n_heads
    owner = node.owner if isinstance(node, ast.Attribute) else node
    if group.word == "heads" and part in ("k", "v") and shared and not isinstance(owner, ast.SetOf):
        what = "keys" if part == "k" else "values"
        raise wrong(
            "shared-kv-head",
            f"query heads share their {what} in {shapes.name}",
            node.span,
            f"write kv_{show(owner)}.{part}",
        )
    word = "kv_head" if group.word == "kv_heads" else "head"
    return SiteOwner(word, *member, shapes, node.span).activation(part, node.span)


def head_group(context: Context, node: ast.Expression) -> _Group:
    """The heads or MLPs that `heads`, `heads[7..9]`, `mlps[2]` or `{7.3, 8.6}` name."""
    shapes = context.shapes(node.span)
    if isinstance(node, ast.SetOf):
        return _Group("heads", tuple(_member(context, item) for item in node.items))
    alone = _head_value(context, node)
    if alone is not None:
        return _Group("heads", (alone,))
    layers: Sequence[int] = range(shapes.n_layers)
    word: ast.Expression = node
    if isinstance(node, ast.Index):
        layers, word = layers_of(context, node), node.owner
    if not isinstance(word, ast.Name) or word.text not in RANGE_WORDS:
        raise wrong(
            "not-a-set",
            f"`{show(node)}` names neither heads nor MLPs",
            node.span,
            "write heads, heads[7..9], mlps[7..9], kv_heads[7..9] or a set such as {7.3, 8.6}",
        )
    if not shapes.text:
        raise wrong("no-such-site", f"{shapes.name} is a toy model without heads", node.span)
    counts = {"heads": shapes.n_heads, "kv_heads": shapes.n_kv_heads, "mlps": 1}
    count = range(counts[word.text])
    return _Group(word.text, tuple((layer, head) for layer in layers for head in count))


def layers_of(context: Context, node: ast.Index) -> Sequence[int]:
    """The layers of `heads[7..9]` or `layers[3]`, all of which the model has."""
    shapes = context.shapes(node.span)
    if isinstance(node.at, ast.Range):
        layers = whole_range(context, node.at)
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
    return range(first, last + 1)


def _all_heads(context: Context, node: ast.SetOf) -> bool:
    return all(_head_value(context, item) is not None for item in node.items)


def _member(context: Context, node: ast.Expression) -> tuple[int, int]:
    value = _head_value(context, node)
    if value is None:
        raise _no_head(node)
    return value


def _no_head(node: ast.Expression) -> Exception:
    return wrong(
        "not-a-member",
        f"`{show(node)}` does not say layer and head",
        node.span,
        "write heads with a dot, such as {7.3, 8.6}",
    )


def _head_value(context: Context, node: ast.Node) -> tuple[int, int] | None:
    """Layer and head, if an expression is a head: `7.3`, or a loop variable that is one."""
    if isinstance(node, ast.Number) and re.fullmatch(r"\d+\.\d+", node.text):
        layer, _, head = node.text.partition(".")
        return int(layer), int(head)
    value = context.loop.get(node.text) if isinstance(node, ast.Name) else None
    return (value.layer, value.head) if isinstance(value, HeadValue) else None


def check_sites(places: Sequence[Place], shapes: ModelDims, span: Span) -> None:
    """Every site must be in the model: a range of heads was, a set of them may not be."""
    with located(span):
        for place in places:
            place.site.check(shapes)
