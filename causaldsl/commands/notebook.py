"""`%%cpatch`: a cell of a notebook that is a program.

    %%cpatch effects --set layer=3
    model lm = "gpt2"
    pairs mine = given
    ...

runs the cell, shows the run, and leaves it in the variable `effects`. A table that the program
calls `given` is the notebook's variable of that name; `--model NAME` runs on the model that is in a
variable, with its tokenizer.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from causaldsl.commands.options import add_settings, read_settings
from causaldsl.commands.output import error_text
from causaldsl.diagnostics import Mistake, ProgramError, RunFailure, suggest
from causaldsl.plan.settings import BACKENDS, Progress
from causaldsl.shown import visible

_GIVEN = re.compile(r'^\s*pairs\s+(\w+)\s*=\s*given\b(?:\s*\(\s*"([^"]+)")?', re.M)
_EVERY = 0.2
"""Seconds between two reports of progress."""


def register(shell: Any) -> None:
    """Add `%%cpatch` to a shell of IPython."""

    def cpatch(line: str, cell: str) -> Any:
        return run_cell(shell, line, cell)

    shell.register_magic_function(cpatch, "cell", "cpatch")


def run_cell(shell: Any, line: str, cell: str) -> Any:
    """Run a cell's program, with the notebook's variables as the tables that it calls `given`.

    Gives the run, which shows itself, or with `--check` a line. A mistake of the program is told
    with its place and ends the cell, without Python's own traceback.
    """
    options = _options(line)
    text, names = f"{cell.rstrip()}\n\n", [m[2] or m[1] for m in _GIVEN.finditer(cell)]
    data = {name: shell.user_ns[name] for name in names if name in shell.user_ns}
    try:
        settings = read_settings(options.settings)
        if options.check:
            from causaldsl.api import check

            if options.model:
                raise Mistake("unused-option", "--check runs no model", "leave out --model")
            program = check(text, settings=settings, data=data)
            return f"right: {len(program.claims)} claims, {len(program.warnings)} warnings"
        from causaldsl.api import run

        with _progress(shell) as progress:
            found = run(
                text, settings=settings, data=data, out=options.out, device=options.device,
                dtype=options.dtype, backend=options.backend, progress=progress,
                model=_variable(shell, options.model),
            )  # fmt: skip
    except (ProgramError, Mistake, RunFailure) as error:
        _end(visible(error_text(error)))
    if options.name:
        shell.user_ns[options.name] = found
    return found


def _variable(shell: Any, name: str | None) -> Any:
    """What is in a variable of the notebook."""
    if name is not None and name not in shell.user_ns:
        known = [known for known in shell.user_ns if not known.startswith("_")]
        raise Mistake(
            "unknown-name", f"no variable is called `{name}`", suggest(name, known, "variables")
        )
    return shell.user_ns[name] if name else None


def _options(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="%%cpatch", add_help=False, exit_on_error=False)
    parser.add_argument("name", nargs="?", help="the variable that gets the run")
    parser.add_argument("--check", action="store_true", help="check the program, and don't run it")
    parser.add_argument("--out", help="the run's folder (default: none is written)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype")
    parser.add_argument("--model", help="a variable that has (model, tokenizer)")
    parser.add_argument("--backend", default="cone", choices=BACKENDS)
    add_settings(parser)
    try:
        options, unknown = parser.parse_known_args(shlex.split(line))
    except (argparse.ArgumentError, ValueError) as error:
        _end(f"%%cpatch: {error}\n{parser.format_usage()}")
    name = options.name or "run"
    if unknown or not name.isidentifier():
        _end(f"%%cpatch: what is {(unknown or [name])[0]!r}?\n{parser.format_usage()}")
    return options


@contextmanager
def _progress(shell: Any) -> Iterator[Progress | None]:
    """A line below the cell that says what is being done; it is gone when that is done."""
    if getattr(shell, "kernel", None) is None:  # a terminal, which shows no such line
        yield None
        return
    from IPython.display import DisplayHandle, Pretty

    shown, last = DisplayHandle(), -_EVERY
    shown.display(Pretty("starting"))

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            shown.update(Pretty(visible(f"{what}: {done} of {total}" if total else what)))

    try:
        yield tell
    finally:
        shown.update(Pretty(""))


def _end(message: str) -> NoReturn:
    """End the cell with a message, as IPython does it for a wrong use of a magic."""
    error: Callable[[str], Exception] = ValueError
    if "IPython" in sys.modules:
        from IPython.core.error import UsageError

        error = UsageError
    raise error(message) from None
