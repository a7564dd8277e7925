"""Giving a name another spelling everywhere, or saying why not."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from causaldsl.check.scope import Scope
from causaldsl.diagnostics import Mistake
from causaldsl.editor.checking import Checking
from causaldsl.editor.document import Place, Reading
from causaldsl.editor.pieces import cut
from causaldsl.editor.workspace import Workspace
from causaldsl.syntax.build import NAME
from causaldsl.syntax.grammar import keywords
from causaldsl.syntax.names import Symbol

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Edits = dict[Path, list[Place]]


def symbol_at(reading: Reading, offset: int) -> tuple[Symbol, Path]:
    """The name at a place that can be renamed, and the file that defines it.

    Raises:
        Mistake: if there is none, or it has no definition of its own.
    """
    mention = reading.mention(offset)
    if mention is None:
        raise Mistake("no-name", "no name of the program stands here")
    place = reading.definition(mention.symbol)
    if place is None:
        raise Mistake("no-name", f"`{mention.symbol.text}` is not defined in a program")
    return mention.symbol, place.path


def rename(workspace: Workspace, reading: Reading, offset: int, new: str) -> Edits:
    """Where a name stands, in all files, so that each can be given the new one.

    Raises:
        Mistake: if there is no name there, if the new one can't be a name or is taken, or if the
            program would then mean something else.
    """
    symbol, home = symbol_at(reading, offset)
    _check_name(symbol, new)
    edits: Edits = {}
    for other, found in workspace.mentions(symbol, home):
        if any(error for piece in other.pieces.starts for error in piece.errors):
            raise Mistake("syntax", f"{other.path.name} has syntax errors: mend them first")
        if found:
            _check_free(other, symbol, new)
            places = [place for m in found if (place := other.place(m.span)) is not None]
            edits[other.path] = sorted(places, key=lambda place: place.start)
    _check_meaning(workspace, symbol, edits, new)
    return edits


def _check_name(symbol: Symbol, new: str) -> None:
    if not _NAME.fullmatch(new) or len(new) > NAME:
        raise Mistake("bad-name", f"`{new[:NAME]}` can't be a name", "letters, digits and _")
    if new in keywords():
        raise Mistake("keyword", f"`{new}` is a keyword, so it can't be a name")
    fixed = {"END", "all", "last", "clean"}
    words = Scope({}).reserved() if symbol.kind in ("definition", "variable") else set()
    if new in words | fixed or symbol.text in fixed:
        word = symbol.text if symbol.text in fixed else new
        raise Mistake("reserved-name", f"`{word}` is a word of the language")


def _check_free(reading: Reading, symbol: Symbol, new: str) -> None:
    """Whether no other name in a file could be mistaken for the new one."""
    owned = symbol.kind in ("arm", "slot")
    for mention in reading.mentions:
        other = mention.symbol
        near = other.owner == symbol.owner if owned else other.kind not in ("arm", "slot")
        if other.text == new and near:
            line, _ = mention.span.source.line_column(mention.span.start)
            where = reading.place(mention.span)
            if where is not None:
                line = reading.pieces.text.count("\n", 0, where.start) + 1
            raise Mistake("name-taken", f"`{new}` is taken: {reading.path.name}, line {line}")


def _check_meaning(workspace: Workspace, symbol: Symbol, edits: Edits, new: str) -> None:
    """Whether every file that would change still says the same; each is checked for that."""
    before = workspace.opened()
    after = dict(before)
    for path, places in edits.items():
        reading = workspace.reading(path)
        assert reading is not None
        after[path] = renamed(reading.pieces.text, places, new)
        before[path] = reading.pieces.text
    for path in edits:
        found = [_codes(path, texts) for texts in (before, after)]
        if found[0] != found[1]:
            changed = ", ".join(sorted((found[1] - found[0]) | (found[0] - found[1])))
            raise Mistake(
                "other-meaning",
                f"with `{new}` for `{symbol.text}`, {path.name} would mean something else: "
                f"{changed}",
            )


def _codes(path: Path, texts: dict[Path, str]) -> Counter[str]:
    checked = Checking(path).check(cut(str(path), texts[path]), texts)
    return Counter(diagnostic.code for diagnostic in checked.found)


def renamed(text: str, places: list[Place], new: str) -> str:
    """A text with another name at these places."""
    for place in sorted(places, key=lambda place: -place.start):
        text = text[: place.start] + new + text[place.end :]
    return text
