"""The command line: one parser for all commands, and an exit code for every way to end."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from causaldsl.commands import (
    audit,
    bundle,
    calibrate,
    check,
    diff,
    explain,
    format,
    graph,
    lock,
    lsp,
    models,
    new,
    power,
    replicate,
    run,
    runs,
    sites,
    store,
    values,
    verify,
)
from causaldsl.commands.output import FAILED, STOPPED, WRONG, complain, error_text, tell
from causaldsl.diagnostics import Mistake, ProgramError, RunFailure
from causaldsl.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (ProgramError, Mistake) as error:
        complain(error_text(error))
        return WRONG
    except RunFailure as failure:
        complain(error_text(failure))
        return FAILED
    except KeyboardInterrupt as stop:
        complain(str(stop) or "stopped; nothing was written")
        return STOPPED
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            complain(f"error: the system says: {error}")
        else:
            complain(traceback.format_exc())
            complain("error: this is a bug in causaldsl; nothing was written")
        return FAILED


class _Completion(argparse.Action):
    """Print a script by which a shell completes commands, options and files, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any, **more: Any) -> None:
        import shtab

        left = [parser]
        for one in left:
            for action in one._actions:
                if isinstance(action, argparse._SubParsersAction):
                    left += action.choices.values()
                elif action.type is Path:
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        tell(shtab.complete(parser, given[1]), end="")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="causaldsl", description="Causal-intervention experiments on transformers."
    )
    parser.add_argument("--version", action="version", version=f"causaldsl {VERSION}")
    parser.add_argument(
        "--completion",
        choices=("bash", "zsh", "tcsh"),
        action=_Completion,
        help="print a script that completes commands in a shell, for ~/.bashrc: "
        'eval "$(causaldsl --completion bash)"',
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    of_programs = (new, run, audit, check, graph, format, sites, models, lock, replicate)
    of_messages = (explain, lsp)
    of_runs = (runs, values, verify, diff, power, bundle, store, calibrate)
    for command in (*of_programs, *of_messages, *of_runs):
        command.add(commands)
    return parser
