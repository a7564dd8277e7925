"""From a syntax tree to a checked program: all that can be known before a weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from causaldsl.check.agreement import check_sites
from causaldsl.check.checked import CheckedProgram
from causaldsl.check.choices import Choice
from causaldsl.check.context import Context
from causaldsl.check.doubts import warn_of_program
from causaldsl.check.files import Readable
from causaldsl.check.limits import Limits
from causaldsl.check.params import check_all_used
from causaldsl.check.scope import Scope
from causaldsl.check.unknown import with_notes
from causaldsl.check.walk import check_statements
from causaldsl.diagnostics import Diagnostic, Diagnostics, ProgramError, Source
from causaldsl.discovery import import_all


def check_file(
    path: Path,
    progress: Callable[[str], None] | None = None,
    settings: Mapping[str, str] | None = None,
    allowed: Iterable[Path] = (),
    limits: Limits | None = None,
    given: Mapping[str, Any] | None = None,
) -> CheckedProgram:
    """Parse and check a program file; ``settings`` gives params other values, as text.

    ``allowed`` are files and folders that it may read beside its own folder, ``given`` the tables
    that its `given` names.

    Raises:
        ProgramError: with every independent mistake, in source order.
        Mistake: for a setting that the program has no param for, and for a file that is too long.
    """
    limits = limits or Limits()
    size = path.stat().st_size  # no character takes more than four bytes
    limits.check("characters", -(-size // 4), "too-large", f"{path} has more than {{}} characters")
    source = Source(str(path), path.read_text(encoding="utf-8-sig"))
    return Checker(source, path, progress, settings, allowed, limits, given).check()


class Checker:
    """Checks one program, with the files that it imports; ``path`` is where it lies."""

    def __init__(
        self,
        source: Source,
        path: Path,
        progress: Callable[[str], None] | None = None,
        settings: Mapping[str, str] | None = None,
        allowed: Iterable[Path] = (),
        limits: Limits | None = None,
        given: Mapping[str, Any] | None = None,
        opened: Mapping[Path, str] | None = None,
        right: Mapping[str, tuple[bool, ...]] | None = None,
        chosen: Mapping[Choice, tuple[str, ...]] | None = None,
        early: bool = False,
    ):
        """What only a run finds out: ``right`` says which pairs the model gets right, ``chosen``
        which cells of sweeps come out on top; without that, the ``early`` ones may stand for
        these."""
        load_handlers()
        allowed = tuple(allowed)
        self._early = lambda: Checker(
            source, path, progress, settings, allowed, limits, given, opened, right, chosen, True
        )
        self.program = CheckedProgram(source, path, settings=dict(settings or {}), readable=allowed)
        self.program.limits = dict(limits.changed) if limits else {}
        self.program.given = dict(given or {})
        self.program.right, self.program.chosen = dict(right or {}), dict(chosen or {})
        self.program.early = early
        self.problems = Diagnostics()
        self.context = Context(
            self.program,
            Scope(self.program.defined),
            self.problems,
            folder=path.parent,
            importing=(path.resolve(),),
            readable=Readable.of(path.parent, allowed),
            limits=limits or Limits(),
            progress=progress,
            opened=opened or {},
        )

    def check(self) -> CheckedProgram:
        """The program. What can't be done with the last members of a loop in place of those that a
        run chooses may be right with the first ones, such as what comes before something else."""
        try:
            return self._check()
        except ProgramError as error:
            if not self.program.undecided or self.program.early:
                raise
            try:
                return self._early().check()
            except ProgramError as others:
                raise ProgramError(
                    with_notes(error.diagnostics, self.program.assumed, others)
                ) from None

    def _check(self) -> CheckedProgram:
        check_statements(self.context, self.context.read(self.program.source))
        self.problems.raise_if_any()
        self.program.words = self.context.words
        check_all_used(self.program.settings, self.program.params)
        check_sites(self.context)
        self.problems.raise_if_any()
        warn_of_program(self.context)
        self.program.warnings = [w for w in self.program.warnings if not self.allowed(w)]
        return self.program

    def allowed(self, warning: Diagnostic) -> bool:
        """Whether the program turns this warning off."""
        allowed = [where for name, where in self.program.allowed if name == warning.code]
        return None in allowed or warning.span.source in allowed


def checked_again(
    program: CheckedProgram,
    right: Mapping[str, tuple[bool, ...]],
    chosen: Mapping[Choice, tuple[str, ...]],
) -> CheckedProgram:
    """The program with the pairs alone that the model gets right, and the cells that were chosen.

    Raises:
        ProgramError: where something can't be done with these.
    """
    found = Checker(
        program.source,
        program.path,
        None,
        program.settings,
        program.readable,
        Limits(program.limits),
        program.given,
        right=right,
        chosen=chosen,
    ).check()
    found.warnings = program.warnings
    return found


def load_handlers() -> None:
    """Import all words and all handlers, so that they are registered."""
    for name in ("vocabulary", "check.expressions", "check.statements", "check.makers"):
        import_all(f"causaldsl.{name}")
