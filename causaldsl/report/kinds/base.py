"""What a kind of record is: one class that shows it on the terminal, in the page and as pictures.

A file of this folder has one such class, registered with :func:`kind`. Each of its methods may be
left out, and then shows nothing. A field of the results that no kind names is shown all the same,
as the tables of :mod:`causaldsl.report.html.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from rich.console import Console, RenderableType

from causaldsl.check.checked import Output
from causaldsl.discovery import import_all
from causaldsl.report.html.markup import Html, section
from causaldsl.report.html.svg import Words
from causaldsl.report.terminal import show
from causaldsl.report.view import View, made_by
from causaldsl.results.numbers import Number
from causaldsl.results.records import Results
from causaldsl.syntax import ast

UNASKED = "unplotted-"
"""What the names of pictures begin with that no statement asks for."""
Draw: TypeAlias = Callable[[Path], None]
"""Writes a picture; the ending of the path says the format."""
Options: TypeAlias = Mapping[str, Any]
Named: TypeAlias = tuple[str, Number]
R = TypeVar("R")
K = TypeVar("K", bound="type[Kind[Any]]")


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
    words: Words | None = None
    """What its parts say in the page."""


class Kind(Generic[R]):
    """How one kind of record is shown.

    ``panel``, ``tables``, ``article`` and ``draw`` show one record, ``name`` is that of the
    statement that made it. The other methods put these together, and a kind whose records have no
    names, or stand in one table, has its own.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    """The fields of the results that it shows, its records' first; no two kinds show the same."""
    title: ClassVar[str] = ""
    """The heading of its section in the page."""
    terminal_place: ClassVar[int] = 0
    """Its place on the terminal, smallest first."""
    page_place: ClassVar[int] = 0
    """Its section's place in the page: the program stands at 20, the pictures at 70."""
    operand: ClassVar[str] = ""
    """The operand by which words name a record when they read a number off it."""

    def records(self, results: Results) -> Mapping[str, R]:
        """The records by name."""
        found = getattr(results, self.fields[0], None) if self.fields else None
        return found if isinstance(found, dict) else {}

    def tables(self, results: Results, name: str, record: R) -> Iterable[RenderableType]:
        """What the terminal shows of a record."""
        return ()

    def panel(self, view: View, name: str, record: R) -> Html | None:
        """What stands beside the statement that made the record."""
        return None

    def article(self, view: View, name: str, record: R) -> Html | None:
        """All of a record, for the kind's section of the page."""
        return None

    def draw(self, view: View, name: str, record: R, asked: Output | None) -> Draw | None:
        """What a `plot` or `render` draws of a record, or what is drawn if there is none."""
        return None

    def words(self, record: R) -> Words | None:
        """What the parts of a record's picture say when they are pointed at."""
        return None

    def number(self, results: Results, name: str, options: Options) -> Named | None:
        """The number with an interval that a word with these options reads off a record."""
        return None

    def metrics(self, results: Results) -> set[str]:
        """The metrics that the records speak of, which the page explains."""
        return set()

    def facts(self, view: View) -> list[str]:
        """Short facts for the head of the page."""
        return []

    def terminal(self, results: Results, out: Console) -> None:
        """Print the records."""
        for name, record in self.records(results).items():
            for table in self.tables(results, name, record):
                show(out, table)

    def beside(self, view: View, statement: ast.Statement) -> Html | None:
        """What stands beside a statement."""
        name, records = made_by(statement) or "", self.records(view.results)
        return self.panel(view, name, records[name]) if name in records else None

    def section(self, view: View) -> Html | None:
        """A section of the page: an element `section` with an id, a heading first."""
        records = self.records(view.results).items()
        parts = [made for name, record in records if (made := self.article(view, name, record))]
        return section(self.fields[0], self.title, parts) if parts else None

    def asked(self, view: View, output: Output) -> Picture | None:
        """The picture that a `plot` or `render` asks for, if its target is one of the records."""
        record = self.records(view.results).get(output.target)
        if record is None or (draw := self.draw(view, output.target, record, output)) is None:
            return None
        caption, words = f"{output.target}, as the program {output.kind}s it", self.words(record)
        return Picture(draw, output.stem, output.suffix, caption, output.target, words)

    def unasked(self, view: View) -> Iterator[Picture]:
        """A picture of each record for the page, to be drawn if the program asks for none."""
        for name, record in self.records(view.results).items():
            if draw := self.draw(view, name, record, None):
                yield Picture(draw, f"{UNASKED}{name}", "", f"{name}, drawn for this page", name)


_KINDS: list[Kind[Any]] = []


def kind(cls: K) -> K:
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
    import_all("causaldsl.report.kinds")


def kinds() -> list[Kind[Any]]:
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
    for known in kinds():
        if picture := known.asked(view, output):
            return picture
    raise LookupError(f"no kind of record draws what `{output.kind} {output.target}` asks for")


def pictures(view: View) -> list[Picture]:
    """What the program's `plot` and `render` draw, then what is drawn unasked."""
    wanted = [asked(view, output) for output in view.program.outputs]
    shown, taken = {picture.at for picture in wanted}, {picture.stem for picture in wanted}
    unasked = [picture for known in kinds() for picture in known.unasked(view)]
    return [*wanted, *(p for p in unasked if p.at not in shown and p.stem not in taken)]
