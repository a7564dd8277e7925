"""From a syntax tree to a checked program: all that can be known before a weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.context import Context
from causaldsl.check.doubts import warn_of_program
from causaldsl.check.params import check_all_used
from causaldsl.check.scope import Scope
from causaldsl.check.walk import check_statements
from causaldsl.diagnostics import Diagnostic, Diagnostics, Source
from causaldsl.discovery import import_all
from causaldsl.vocabulary.base import load_vocabulary


def check_file(
    path: Path,
    progress: Callable[[str], None] | None = None,
    settings: Mapping[str, str] | None = None,
) -> CheckedProgram:
    """Parse and check a program file; ``settings`` gives params other values, as text.

    Raises:
        ProgramError: with every independent mistake, in source order.
        Mistake: for a setting that the program has no param for.
    """
    source = Source(str(path), path.read_text(encoding="utf-8-sig"))
    return Checker(source, path, progress, settings).check()


class Checker:
    """Checks one program, with the files that it imports; ``path`` is where it lies."""

    def __init__(
        self,
        source: Source,
        path: Path,
        progress: Callable[[str], None] | None = None,
        settings: Mapping[str, str] | None = None,
    ):
        load_handlers()
        self.program = CheckedProgram(source, path, settings=dict(settings or {}))
        self.problems = Diagnostics()
        self.context = Context(
            self.program,
            Scope(self.program.defined),
            self.problems,
            folder=path.parent,
            importing=(path.resolve(),),
            progress=progress,
        )

    def check(self) -> CheckedProgram:
        check_statements(self.context, self.context.read(self.program.source))
        self.problems.raise_if_any()
        self.program.words = self.context.words
        check_all_used(self.program.settings, self.program.params)
        warn_of_program(self.context)
        self.program.warnings = [w for w in self.program.warnings if not self._allowed(w)]
        return self.program

    def _allowed(self, warning: Diagnostic) -> bool:
        allowed = [where for name, where in self.program.allowed if name == warning.code]
        return None in allowed or warning.span.source in allowed


@cache
def load_handlers() -> None:
    """Import all words and all handlers, so that they are registered."""
    load_vocabulary()
    for name in ("expressions", "statements", "makers"):
        import_all(f"causaldsl.check.{name}")
