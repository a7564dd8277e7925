"""`causaldsl run`: run a program, check its claims, and leave a folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl import api
from causaldsl.commands.options import (
    Commands,
    add_program,
    add_reading,
    add_run_options,
    add_settings,
    read_limits,
    read_settings,
)
from causaldsl.commands.output import announce, bars, complain, console, tell, warn
from causaldsl.diagnostics import Diagnostic
from causaldsl.plan.settings import USUAL, Settings

_UNWRITTEN = 3
"""Exit code of a run whose files could not be written."""

if TYPE_CHECKING:
    from rich.console import Console


def add(commands: Commands) -> None:
    exits = "Exit code: 0 all claims held, 1 one fell, 2 the program is wrong, 3 the run failed."
    run = commands.add_parser("run", help="run a program and check its claims", epilog=exits)
    add_program(run)
    add_run_options(run)
    add_settings(run)
    add_reading(run)
    run.set_defaults(command=lambda options: run_file(options.program, options))


def run_file(
    path: Path,
    options: argparse.Namespace,
    placed: Callable[[Diagnostic], Diagnostic] = lambda warning: warning,
) -> int:
    """Run a program file with the options of :func:`add_run_options`, :func:`add_settings` and
    :func:`add_reading`.

    ``placed`` gives a warning the place that its reader knows.
    """
    settings, limits = read_settings(options.settings), read_limits(options.limits)
    compiled = api.compile(
        path, settings=settings, progress=announce, allow=options.allow, limits=limits
    )
    compiled = api.with_weights(compiled, options.out, announce)
    from causaldsl.results.store import run_key

    chosen = Settings(
        backend=options.backend,
        device=options.device,
        dtype=options.dtype or USUAL,
        seed=options.seed,
        tf32=options.tf32,
        memory=options.memory,
    ).of_program(compiled.program.model, options.dtype)
    warnings = compiled.program.warnings
    warnings[:] = map(placed, warnings)
    warn(compiled.program)
    folder = options.out or Path("runs") / path.stem / run_key(
        compiled.graph, chosen, compiled.program.model
    )
    with bars() as progress:
        run = api.run_compiled(compiled, chosen, folder, progress)
    try:
        _show(run, folder, options.json)
    except Exception as error:  # of the terminal; what was found is on disk
        complain(f"the results can't be shown here: {error}")
    if run.unwritten:
        complain(f"error: the run's files could not be written: {run.unwritten}")
        return _UNWRITTEN
    return 0 if run.held else 1


def _show(run: api.Run, folder: Path, as_json: bool) -> None:
    if as_json:
        tell(run.results.model_dump_json(indent=1))
        return
    from causaldsl.report.tables import print_results

    out = console()
    print_results(run.results, out)
    if run.folder is not None:
        _name_files(out, folder, run)


def _name_files(out: Console, folder: Path, run: api.Run) -> None:
    pictures = [f"{o.stem}{o.suffix}" for o in run.program.outputs]
    rendered = {o.target for o in run.program.outputs}
    pictures += [f"{name}.svg" for name in run.program.traces if name not in rendered]
    files = {"report.html": "report ", "results.json": "results"}
    files |= dict.fromkeys([*pictures, "graph.svg"], "picture")
    for name, what in files.items():
        if (folder / name).is_file():
            out.print(f"{what}   {folder / name}", soft_wrap=True)
