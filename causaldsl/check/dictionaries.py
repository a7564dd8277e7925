"""Dictionaries and their features, as a program names them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from causaldsl.check.context import Context
from causaldsl.check.kinds import Value
from causaldsl.check.places import HeadValue, Place
from causaldsl.check.sets import Members
from causaldsl.check.stages import whole_range
from causaldsl.diagnostics import Span, located, wrong
from causaldsl.model.dictionaries.form import Dictionary
from causaldsl.model.sites import Site
from causaldsl.syntax import ast
from causaldsl.syntax.format import show
from causaldsl.vocabulary.dictionaries import check_number
from causaldsl.vocabulary.types import DictionaryType


@dataclass(frozen=True)
class CheckedDictionary(Value):
    """A dictionary, and the site of all its features."""

    kind = "a dictionary"
    compiled = True
    way_out = "write {}.features @ POSITION, or feature({}, 12)"
    name: str
    dictionary: Dictionary
    site: Site
    written: str
    """What the program calls its folder."""
    span: Span

    @property
    def as_site(self) -> str:
        """What to write where a site is wanted."""
        return f"write {self.name}.features @ END, or some of them: {self.name}.features[12] @ END"

    @property
    def type(self) -> DictionaryType:
        form = self.dictionary.form
        return DictionaryType(form.d_in, form.d_out, form.features)

    def part(self, node: ast.Attribute) -> Place:
        if node.name.text != "features":
            raise wrong(
                "no-part",
                f"a dictionary has no part `{node.name.text}`",
                node.name.span,
                f"write {self.name}.features, or {self.name}.features[12]",
            )
        return Place(self.site, None, node.span)


def features_at(context: Context, place: Place, node: ast.Index) -> Place:
    """`f.features[12]`, `f.features[0..9]`, `f.features[{3, 7}]` or of a named set of numbers."""
    dictionary, site = place.site.dictionary, place.site
    assert dictionary is not None
    if site.numbers is not None:
        raise wrong("no-index", f"`{show(node.owner)}` names its features already", node.at.span)
    numbers = _numbers(context, node.at)
    with located(node.at.span):
        context.limits.check("cells", len(numbers), "sweep-size", "these are {} features")
        for number in numbers:
            check_number("site", number, dictionary.form.features)
    if len(set(numbers)) < len(numbers):
        raise wrong("listed-twice", "a feature is listed twice", node.at.span, "list it once")
    return replace(place, site=replace(site, numbers=numbers), span=node.span)


def _numbers(context: Context, node: ast.Expression) -> tuple[int, ...]:
    if isinstance(node, ast.Range):
        return tuple(whole_range(context, node))
    value: Any = None
    if not isinstance(node, ast.Number | ast.Cell):
        value = context.value(node)
    if not isinstance(value, Members):
        if isinstance(node, ast.Cell):
            way = f"write a set: {{{show(node)}}}"
            raise wrong("cell-here", "several features stand in braces", node.span, way)
        return (context.integer(node, "a feature"),)
    found = []
    for member in value.members:
        number = None if isinstance(member, HeadValue) else getattr(member, "number", None)
        if number is None or number != int(number):
            message = f"`{show(node)}` has a member that is not a feature"
            raise wrong("not-an-integer", message, node.span, "features are whole numbers")
        found.append(int(number))
    return tuple(found)
