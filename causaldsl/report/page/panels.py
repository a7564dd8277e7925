"""What a statement of the program gave, to stand beside its lines or below them."""

from __future__ import annotations

from causaldsl.report.html.markup import Html, join
from causaldsl.report.html.records import record_panel
from causaldsl.report.html.svg import figure, natural_width
from causaldsl.report.kinds.base import kinds, of_no_kind, pictures
from causaldsl.report.view import View, made_by
from causaldsl.syntax import ast

_NARROW = 700
"""Up to this width in pixels a picture stands beside the program's lines."""


def panel(view: View, statement: ast.Statement) -> tuple[Html | None, Html | None]:
    """What stands beside a statement, and what needs the page's whole width below it."""
    found = (known.beside(view, statement) for known in kinds())
    beside = next((made for made in found if made is not None), None)
    name, below = made_by(statement), None
    if name is None:
        return beside, None
    if beside is None:
        beside = _of_no_kind(view, name)
    for picture in pictures(view):
        drawn = view.drawing(picture.stem) if picture.at == name else None
        if drawn is None:
            continue
        shown = figure(view, picture.stem, picture.suffix, picture.caption, picture.words)
        if picture.suffix or natural_width(drawn) > _NARROW:
            below = join(below, shown) if shown else below
        else:
            beside = join(beside, shown)
    return beside, below


def _of_no_kind(view: View, name: str) -> Html | None:
    """The record of this name in a field of the results that no kind shows."""
    for field, records in of_no_kind(view.results).items():
        if name in records:
            return record_panel(field, name, records[name])
    return None
