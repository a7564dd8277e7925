"""The programs that are open, and those on disk that import one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from causaldsl.editor.document import Document, Reading
from causaldsl.editor.pieces import cut, stamp
from causaldsl.editor.verdicts import LastRun, last_run
from causaldsl.syntax import ast
from causaldsl.syntax.names import Mention, Symbol, mentions

_MOST = 1000
"""How many files are looked through for what imports a program."""


@dataclass
class Workspace:
    """Documents by their full path, and the folders that an editor has open."""

    documents: dict[Path, Document] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    _read: dict[Path, tuple[object, Reading]] = field(default_factory=dict)

    def opened(self) -> dict[Path, str]:
        return {path: document.text for path, document in self.documents.items()}

    def reading(self, path: Path) -> Reading | None:
        """A program as it is open, or as it lies on disk; None if it can't be read."""
        if path in self.documents:
            return self.documents[path].reading
        try:
            now = stamp(path)
            if path not in self._read or self._read[path][0] != now:
                text = path.read_text("utf-8-sig")
                self._read[path] = now, Reading(path, cut(str(path), text))
        except (OSError, UnicodeDecodeError):
            return None
        return self._read[path][1]

    def last_run(self, program: Path) -> LastRun | None:
        return last_run(program, self.folders)

    def mentions(self, symbol: Symbol, home: Path) -> Iterator[tuple[Reading, list[Mention]]]:
        """Where a name is mentioned: in the file that defines it, and in those that import it."""
        reading = self.reading(home)
        if reading is None:
            return
        yield reading, reading.of(symbol)
        kinds = ("definition", "position", "source")  # in the order of what `mentions` takes
        if symbol.kind in kinds:
            known = [[symbol.text] if symbol.kind == kind else [] for kind in kinds]
            for other in self.importers(home):
                found = mentions(other.pieces.statements(), *known)
                yield other, [mention for mention in found if mention.symbol == symbol]

    def importers(self, path: Path) -> list[Reading]:
        """The programs that import a file, or one that imports it."""
        found: dict[Path, Reading] = {}
        programs = [r for p in self._programs(path) if (r := self.reading(p)) is not None]
        sought = {path}
        while sought:
            new = {r.path: r for r in programs if r.path not in found and sought & set(imported(r))}
            found |= new
            sought = set(new)
        return [reading for other, reading in found.items() if other != path]

    def opened_with(self, path: Path) -> list[Path]:
        """The programs that are open and import a file, or one that imports it."""
        return [other for other in self.documents if path in self._brought(other)]

    def _brought(self, program: Path) -> set[Path]:
        """All files that a program imports, by itself or by others."""
        found: set[Path] = set()
        waiting = [program]
        while waiting:
            reading = self.reading(waiting.pop())
            new = [path for path in imported(reading) if path not in found] if reading else []
            found.update(new)
            waiting += new
        return found - {program}

    def _programs(self, path: Path) -> list[Path]:
        folders = dict.fromkeys((path.parent, *self.folders))
        files = (p.resolve() for folder in folders for p in islice(_below(folder), _MOST))
        return list(dict.fromkeys((*self.documents, *files)))


def imported(reading: Reading) -> list[Path]:
    """The files that a program imports by itself."""
    statements = reading.pieces.statements()
    names = [s.path.text for s in statements if isinstance(s, ast.ImportFile)]
    return [(reading.path.parent / name).resolve() for name in names if "\0" not in name]


def _below(folder: Path) -> Iterator[Path]:
    """The programs of a folder; not the copies that runs keep."""
    try:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith(".") and path.name != "runs":
                if not path.is_symlink():
                    yield from _below(path)
            elif path.suffix == ".cpatch":
                yield path
    except OSError:
        return
