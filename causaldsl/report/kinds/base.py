"""What a kind of record is: one class that shows it on the terminal, in the page and as pictures.

A file of this folder has one such class, registered with :func:`kind`. Each of its methods may be
left out, and then shows nothing. A field of the results that no kind names is shown all the same,
as the tables of :mod:`causaldsl.report.html.records`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from rich.console import Console

from causaldsl.check.checked import Output
from causaldsl.report.html.markup import Html
from causaldsl.report.view import View, made_by
from causaldsl.results.records import Number, Results
from causaldsl.syntax import ast

Draw: TypeAlias = Callable[[Path], None]
"""Writes a picture; the ending of the path says the format."""
Options: TypeAlias = Mapping[str, Any]
Named: TypeAlias = tuple[str, Number]


@dataclass(frozen=True)
class Picture:
    """A picture, its file, and the name of the statement that it stands at in the page.

    One without ``suffix`` is no file of the run: only the page has it. One without ``at`` stands
    among the pictures further down the page.
    """

    draw: Draw
    stem: str
    suffix: str
    caption: str
    at: str = ""

    @classmethod
    def asked(cls, output: Output, draw: Draw) -> Picture:
        """The picture of a record, as a `plot` or `render` asks for it."""
        caption = f"{output.target}, as the program {output.kind}s it"
        return cls(draw, output.stem, output.suffix, caption, output.target)

    @classmethod
    def for_page(cls, name: str, draw: Draw) -> Picture:
        """A picture of a record that the program does not ask for, in the page only."""
        return cls(draw, f"unplotted-{name}", "", f"{name}, drawn for this page", name)


class Kind:
    """How one kind of record is shown."""

    fields: ClassVar[tuple[str, ...]] = ()
    """The fields of the results that it shows; no two kinds show the same one."""
    terminal_place: ClassVar[int] = 0
    """Its place on the terminal, smallest first."""
    page_place: ClassVar[int] = 0
    """Its section's place in the page: the program stands at 20, the pictures at 70."""
    operand: ClassVar[str] = ""
    """The operand by which words name a record when they read a number off it."""

    def terminal(self, results: Results, out: Console) -> None:
        """Print the records."""

    def panel(self, view: View, name: str) -> Html | None:
        """What stands beside the statement of this name."""
        return None

    def beside(self, view: View, statement: ast.Statement) -> Html | None:
        """What stands beside a statement: for most kinds, the panel of the name that it makes."""
        name = made_by(statement)
        return None if name is None else self.panel(view, name)

    def section(self, view: View) -> Html | None:
        """A section of the page: an element `section` with an id, a heading first."""
        return None

    def facts(self, view: View) -> list[str]:
        """Short facts for the head of the page."""
        return []

    def asked(self, view: View, output: Output) -> Picture | None:
        """What a `plot` or `render` draws, if its target is one of the records."""
        return None

    def unasked(self, view: View) -> Iterator[Picture]:
        """Pictures of records for which the program may have no `plot` or `render`."""
        yield from ()

    def metrics(self, results: Results) -> set[str]:
        """The metrics that the records speak of, which the page explains."""
        return set()

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        """The number with an interval that a word with these options reads off a record."""
        return None


_KINDS: list[Kind] = []


def kind(cls: type[Kind]) -> type[Kind]:
    """Register a kind.

    Raises:
        ValueError: if another kind shows one of its fields.
    """
    for known in _KINDS:
        for field in set(known.fields) & set(cls.fields):
            raise ValueError(f"{type(known).__name__} and {cls.__name__} both show {field}")
    _KINDS.append(cls())
    return cls


@cache
def _load() -> None:
    package = importlib.import_module("causaldsl.report.kinds")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"causaldsl.report.kinds.{module.name}")


def kinds() -> list[Kind]:
    """Every kind, in the order of the page."""
    _load()
    return sorted(_KINDS, key=lambda known: known.page_place)


def of_no_kind(results: Results) -> dict[str, dict[str, Any]]:
    """The fields of the results that no kind shows and that hold something, as records by name."""
    shown = {field for known in kinds() for field in known.fields}
    found = {f: getattr(results, f) for f in type(results).model_fields if f not in shown}
    return {f: v if isinstance(v, dict) else {f: v} for f, v in found.items() if v}


def asked(view: View, output: Output) -> Picture:
    """What a `plot` or `render` of the program draws."""
    return next(picture for known in kinds() if (picture := known.asked(view, output)))


def pictures(view: View) -> list[Picture]:
    """What the program's `plot` and `render` draw, then what is drawn unasked."""
    wanted = [asked(view, output) for output in view.program.outputs]
    shown, taken = {picture.at for picture in wanted}, {picture.stem for picture in wanted}
    unasked = [picture for known in kinds() for picture in known.unasked(view)]
    return [*wanted, *(p for p in unasked if p.at not in shown and p.stem not in taken)]
