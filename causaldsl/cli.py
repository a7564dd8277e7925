"""The command line: one parser for all commands, and an exit code for every way to end."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable, Sequence

from causaldsl.commands import (
    audit,
    bundle,
    calibrate,
    check,
    diff,
    format,
    graph,
    lock,
    models,
    power,
    replicate,
    run,
    sites,
    store,
    values,
    verify,
)
from causaldsl.commands.output import complain
from causaldsl.diagnostics import Mistake, ProgramError, RunFailure, render_all
from causaldsl.version import VERSION

WRONG, FAILED, STOPPED = 2, 3, 130
"""Exit codes: the program is wrong; the run failed; Ctrl-C. A command's own are 0 and 1."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ProgramError as error:
        count = len(error.diagnostics)
        mistakes = "mistake" if count == 1 else "mistakes"
        complain(f"{render_all(error.diagnostics)}\n\n{count} {mistakes}")
        return WRONG
    except Mistake as mistake:
        complain(_error(mistake.message, mistake.help))
        return WRONG
    except RunFailure as failure:
        complain(_error(failure.message, failure.help))
        return FAILED
    except KeyboardInterrupt as stop:
        complain(str(stop) or "stopped; nothing was written")
        return STOPPED
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            complain(_error(f"the system says: {error}", None))
        else:
            complain(traceback.format_exc())
            complain("error: this is a bug in causaldsl; nothing was written")
        return FAILED


def _error(message: str, help: str | None) -> str:
    return f"error: {message}" + (f"\n  help: {help}" if help else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="causaldsl", description="Causal-intervention experiments on transformers."
    )
    parser.add_argument("--version", action="version", version=f"causaldsl {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    of_programs = (run, audit, check, graph, format, sites, models, lock, replicate)
    of_runs = (values, verify, diff, power, bundle, store, calibrate)
    for command in (*of_programs, *of_runs):
        command.add(commands)
    return parser
