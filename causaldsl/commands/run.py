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
    add_workers,
    read_limits,
    read_settings,
    read_workers,
)
from causaldsl.commands.output import FAILED, announce, complain, console, tell, warn
from causaldsl.commands.progress import bars
from causaldsl.diagnostics import Diagnostic, Mistake
from causaldsl.plan.settings import USUAL, Settings

if TYPE_CHECKING:
    from rich.console import Console

    from causaldsl.results.lock import Lock

EXITS = {"held": 0, "fell": 1, "undecided": 4}


def add(commands: Commands) -> None:
    exits = (
        "Exit code: 0 all claims held, 1 one fell, 2 the program is wrong, 3 the run failed, "
        "4 none fell and one is undecided."
    )
    run = commands.add_parser("run", help="run a program and check its claims", epilog=exits)
    add_program(run)
    add_run_options(run)
    add_settings(run)
    add_reading(run)
    add_workers(run)
    run.add_argument(
        "--locked", action="store_true", help="refuse a program that is not as it was locked"
    )
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
    workers = read_workers(options)
    compiled = api.compile(
        path, settings=settings, progress=announce, allow=options.allow, limits=limits
    )
    compiled = api.with_weights(compiled, options.out, announce)
    from causaldsl.results.store import run_key

    chosen = Settings(
        backend=options.backend or Settings.backend,
        device=options.device,
        dtype=options.dtype or USUAL,
        seed=options.seed,
        tf32=options.tf32,
        memory=options.memory,
    ).of_program(compiled.program.model, options.dtype)
    warnings = compiled.program.warnings
    warnings[:] = map(placed, warnings)
    warn(compiled.program)
    lock = _lock(path, compiled, chosen.seed, getattr(options, "locked", False))
    folder = options.out or Path("runs") / path.stem / run_key(
        compiled.graph, chosen, compiled.program.model
    )
    from causaldsl.content_store import chosen_store

    store = chosen_store(options.store, options.store_limit)
    with bars() as progress:
        run = api.run_compiled(compiled, chosen, folder, progress, lock, store, workers)
    _say_reused(run)
    try:
        _show(run, folder, options.json)
    except Exception as error:  # of the terminal; what was found is on disk
        complain(f"the results can't be shown here: {error}")
    if run.unwritten:
        complain(f"error: the run's files could not be written: {run.unwritten}")
        return FAILED
    return EXITS[run.verdict]


def _say_reused(run: api.Run) -> None:
    """What came from the store, and what could not be kept there."""
    there, whole = run.reused
    if there:
        complain(f"{there} of {whole} operations from the store")
    if run.unkept:
        complain(f"note: {run.unkept}")


def _lock(path: Path, compiled: api.Compiled, seed: int, refuse: bool) -> Lock | None:
    """The lock beside a program, if any; with ``refuse`` the program must be as it says."""
    from causaldsl.results.lock import SUFFIX, differences, lock_of, read_lock

    beside = path.with_suffix(SUFFIX)
    if not refuse and not beside.is_file():
        return None
    lock = read_lock(beside)
    if refuse and (changed := differences(lock, lock_of(compiled.program, compiled.graph, seed))):
        raise Mistake(
            "not-as-locked",
            f"{path} is not as it was locked: {'; '.join(changed)}",
            "run it without --locked: claims that are not on record are marked exploratory",
        )
    return lock


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
