"""Checks a program that is being typed: what no change can have touched is not checked again.

Each statement is checked with notes of the names that it looks up and of all that it writes. It is
taken as it was as long as its own text, what it looked up and the files that it read are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from causaldsl.check.agreement import check_sites
from causaldsl.check.doubts import warn_of_program
from causaldsl.check.program import Checker
from causaldsl.check.unknown import with_notes
from causaldsl.check.walk import MOST, check_statement, foresee
from causaldsl.diagnostics import Diagnostic, Diagnostics, ProgramError, Source, Span
from causaldsl.editor.pieces import Piece, Pieces, stamp
from causaldsl.editor.watched import Notes, WatchedDict, WatchedSet
from causaldsl.syntax import ast
from causaldsl.vocabulary.register import Vocabulary

_ANEW = (ast.Expect, ast.Plot, ast.Render)
"""Statements that look at what all others claim or draw: they are quick, and checked each time."""
_TOKENS = "tokens"


@dataclass(frozen=True)
class Checked:
    """What is known of a program: its names with what they stand for, the words, what is wrong."""

    pieces: Pieces
    names: Mapping[str, Any]
    places: Mapping[str, Span]
    words: Vocabulary
    model: Any
    found: tuple[Diagnostic, ...]


@dataclass
class _Seen:
    """A statement as it was checked, and all that follows from it."""

    notes: Notes
    scalars: Any
    problems: Diagnostics
    tails: list[tuple[list[Any], list[Any]]]
    after: list[tuple[Any, str, Any]]
    files: dict[Path, Any] = field(default_factory=dict)


class Checking:
    """One program, checked again and again; not by two threads at once."""

    def __init__(self, path: Path):
        self.path = path
        self.opened: dict[Path, str] = {}
        self._seen: dict[tuple[Piece, int], _Seen] = {}
        self._tokens: Any = None
        self._begin()

    def forget(self) -> None:
        """Check everything anew the next time."""
        self._seen = {}
        self._begin()

    def _begin(self) -> None:
        """The objects that hold what is known of the program; their contents come and go."""
        checker = Checker(Source(str(self.path), ""), self.path, opened=self.opened)
        program, scope = checker.program, checker.context.scope
        names = WatchedDict()
        program.defined = scope.values = names
        self.checker = checker
        self.context = replace(
            checker.context, imported=WatchedSet(), compared=WatchedSet(), opened=self.opened
        )
        self._owners = (program, scope, scope.words, self.context)
        self._lists: list[list[Any]] = []
        self._dicts: list[WatchedDict | WatchedSet] = []
        self._scalars: list[tuple[Any, str, Any]] = []
        for owner in self._owners:
            for item in dataclasses.fields(owner):
                self._watch(owner, item.name)
        self._words = [(table, dict(table)) for table in scope.words.tables()]

    def _watch(self, owner: Any, name: str) -> None:
        value = getattr(owner, name)
        plain = type(value) in (dict, set)
        if plain and owner is not self.context:
            value = WatchedDict(value) if isinstance(value, dict) else WatchedSet(value)
            setattr(owner, name, value)
            if isinstance(value, WatchedDict) and owner is self.context.scope.words:
                value.followed = False  # what is added to them is part of `_now`
        if isinstance(value, WatchedDict | WatchedSet):
            self._dicts.append(value)
        elif isinstance(value, list):
            self._lists.append(value)
        elif not plain and owner is not self.context and name not in ("source", "words"):
            self._scalars.append((owner, name, value))

    def _clear(self) -> None:
        words = {id(table) for table, _ in self._words}
        for watched in self._dicts:
            if id(watched) not in words:
                watched.clear()
        for table, entries in self._words:
            if len(table) != len(entries):
                table.clear()
                table.update(entries)
        for items in self._lists:
            items.clear()
        for owner, name, value in self._scalars:
            setattr(owner, name, value)

    def check(self, pieces: Pieces, opened: Mapping[Path, str]) -> Checked:
        """What is known of a text, with the texts of other files that are open."""
        self._clear()
        self.opened.clear()
        self.opened.update(opened)
        program = self.checker.program
        program.source = Source(pieces.name, pieces.text)
        problems = Diagnostics()
        tree = ast.Program(Span(program.source, 0, 0), tuple(pieces.statements()))
        foresee(self.context, tree)
        for piece in pieces.starts:
            for error in piece.errors:
                problems.add(error)
        seen: dict[tuple[Piece, int], _Seen] = {}
        for piece in pieces.starts:
            for number, statement in enumerate(piece.tree.statements):
                if len(problems.found) < MOST:
                    found = self._statement((piece, number), statement)
                    seen[piece, number] = found
                    for diagnostic in found.problems.found:
                        problems.add(diagnostic)
        self._seen = seen
        if not problems.found and not any(one.problems.incomplete for one in seen.values()):
            whole = replace(self.context, problems=problems)
            check_sites(whole)
            if not problems.found:
                warn_of_program(whole)
        if program.model is not None and program.tokens is not None:
            self._tokens = program.model, self._tokenizer(program.model), program.tokens
        warnings = [w for w in program.warnings if not self.checker.allowed(w)]
        words = Vocabulary()
        words.add(self.context.words)
        scope = self.context.scope
        names = {name: dict.get(scope.values, name) for name in dict.keys(scope.values)}
        return Checked(
            pieces,
            names,
            dict(scope.places),
            words,
            program.model,
            (*self._noted(problems.found), *warnings),
        )

    def _noted(self, found: list[Diagnostic]) -> list[Diagnostic]:
        """Mistakes as a check of the whole has them: it takes other members, too, in place of
        those that a run chooses."""
        program = self.checker.program
        if not any(one in program.assumed for one in found):
            return found
        try:
            Checker(program.source, self.path, opened=self.opened, early=True).check()
        except ProgramError as others:
            return with_notes(found, program.assumed, others)
        return []

    def _statement(self, key: tuple[Piece, int], statement: ast.Statement) -> _Seen:
        before = self._seen.get(key)
        if before is not None and self._as_before(before):
            before.notes.again()
            for items, tail in before.tails:
                items += tail
            for owner, name, value in before.after:
                setattr(owner, name, value)
            return before
        found = self._anew(statement)
        if isinstance(statement, ast.Model):
            self._give_tokens()
        if isinstance(statement, _ANEW) or (
            isinstance(statement, ast.Model) and found.problems.found
        ):
            found.scalars = None
        return found

    def _give_tokens(self) -> None:
        """Those of the last check, if they are this model's and there is nothing to say of them."""
        program = self.checker.program
        if program.tokens is None and program.model is not None and self._tokens is not None:
            model, stamp, tokens = self._tokens
            same = (model.path, model.bos) == (program.model.path, program.model.bos)
            if same and stamp == self._tokenizer(model) and tokens.doubt is None:
                program.tokens = tokens

    def _tokenizer(self, model: Any) -> Any:
        return self._stamp(model.path / "tokenizer.json")

    def _as_before(self, seen: _Seen) -> bool:
        return (
            seen.scalars is not None
            and self._same(seen.scalars)
            and seen.notes.hold()
            and all(self._stamp(path) == stamp for path, stamp in seen.files.items())
        )

    def _anew(self, statement: ast.Statement) -> _Seen:
        notes, problems = Notes(), Diagnostics()
        scalars, lengths = self._now(), [len(items) for items in self._lists]
        values = [getattr(owner, name) for owner, name, _ in self._scalars]
        for watched in self._dicts:
            watched.notes = notes
        try:
            check_statement(replace(self.context, problems=problems), statement)
        finally:
            for watched in self._dicts:
                watched.notes = None
        pairs = zip(self._lists, lengths, strict=True)
        tails = [(items, items[n:]) for items, n in pairs if len(items) > n]
        after = [
            (owner, name, getattr(owner, name))
            for (owner, name, _), value in zip(self._scalars, values, strict=True)
            if getattr(owner, name) is not value
        ]
        seen = _Seen(notes, scalars, problems, tails, after)
        program = self.checker.program
        files: Any = program.files
        read = {key for where, key, _ in notes.writes if where is files}
        if isinstance(statement, ast.Model) and program.model is not None and program.model.path:
            read |= {program.model.path / "config.json", program.model.path / "tokenizer.json"}
        seen.files = {path: self._stamp(path) for path in read}
        return seen

    def _now(self) -> list[Any]:
        """What a statement may depend on beside names, to be compared by identity."""
        tokens = self.checker.program.tokens
        doubtful = tokens is not None and tokens.doubt  # whoever loads them says so
        scalars = [
            getattr(owner, name) for owner, name, _ in self._scalars if name != _TOKENS or doubtful
        ]
        added = (islice(dict.items(table), len(usual), None) for table, usual in self._words)
        return scalars + [part for items in added for item in items for part in item]

    def _same(self, then: list[Any]) -> bool:
        now = self._now()
        return len(now) == len(then) and all(a is b for a, b in zip(now, then, strict=True))

    def _stamp(self, path: Path) -> Any:
        """Changes when a file does, on disk or where it is open."""
        if path in self.opened:
            return self.opened[path]
        try:
            return stamp(path)
        except OSError:
            return None
