"""What a command tells its user, also where nobody listens any more.

A reader of standard output that goes away (`causaldsl ... | head`) is no failure: the command goes
on in silence, and its exit code still says whether the claims held.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from causaldsl.diagnostics import Diagnostic, Mistake, ProgramError, RunFailure, render_all
from causaldsl.shown import visible

if TYPE_CHECKING:
    from rich.console import Console

    from causaldsl.check.checked import CheckedProgram


WRONG, FAILED, STOPPED = 2, 3, 130
"""Exit codes: the program is wrong; the run failed; Ctrl-C. A command's own are 0, 1 and 4."""


def tell(text: str, end: str = "\n") -> None:
    """Something that was asked for, on standard output."""
    try:
        print(visible(text), end=end, flush=True)
    except BrokenPipeError:
        _stop()


def complain(text: str) -> None:
    """A mistake, or what is going on, on standard error."""
    with suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)


def warn(program: CheckedProgram) -> None:
    """What was done with data, and the warnings of a program that is right, on standard error."""
    for line in program.readings:
        complain(line)
    if program.warnings:
        count = len(program.warnings)
        said = "1 warning" if count == 1 else f"{count} warnings"
        off = "`allow NAME` in the program turns off those of a name"
        complain(f"{render_all(program.warnings)}\n\n{said}; {off}\n")


def error_text(error: ProgramError | Mistake | RunFailure) -> str:
    """What a user is told of an error: every mistake with its place and a way out."""
    if not isinstance(error, ProgramError):
        code = f"[{error.code}]" if isinstance(error, Mistake) else ""
        return f"error{code}: {error.message}" + (f"\n  help: {error.help}" if error.help else "")
    count, more = len(error.diagnostics), _more(error.diagnostics)
    mistakes = "mistake" if count == 1 else "mistakes"
    return f"{render_all(error.diagnostics)}\n\n{count} {mistakes}{more}"


def _more(found: Sequence[Diagnostic]) -> str:
    """Where to read more of the first message that has more to read."""
    from causaldsl.codes import codes

    known = [one.code for one in found if one.code in codes()]
    return f"; `causaldsl explain {known[0]}` says more" if known else ""


def announce(what: str, done: int, total: int) -> None:
    """What is being done, as a line of its own."""
    complain(what)


def console() -> Console:
    """Standard output; wide enough for any table when it goes into a file or a pipe.

    Texts are shown as they are: no markup in them is obeyed, and no control character.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Output(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                control = segment.control is not None
                yield segment if control else segment._replace(text=visible(segment.text))

        def on_broken_pipe(self) -> None:
            self.quiet = True
            _stop()

    watched = sys.stdout is not None and sys.stdout.isatty()
    return Output(width=None if watched else 130, markup=False, emoji=False)


def _stop() -> None:
    """From here on standard output, and what is still on its way there, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
