"""The command line. Each command is a thin layer over one floor of the house."""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from causaldsl import __version__
from causaldsl.commands.audit import add_arguments, run_audit
from causaldsl.commands.graph import add_graph_options, show_graph
from causaldsl.commands.output import complain, console, tell
from causaldsl.commands.run_options import add_run_options
from causaldsl.diagnostics import Mistake, ProgramError, RunFailure, render_all

if TYPE_CHECKING:
    from rich.console import Console

    from causaldsl.check.checked import CheckedProgram
    from causaldsl.graph.graph import Graph
    from causaldsl.model.shapes import Shapes
    from causaldsl.vocabulary.sites import SiteWord

HELD, FELL, WRONG, FAILED = 0, 1, 2, 3
"""Exit codes: all claims held; one fell; the program is wrong; the run failed."""
_LARGEST = ("torch", "transformers")
"""The imports that bring most."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)
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
    except KeyboardInterrupt:
        complain("stopped; nothing was written")
        return 130
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
    parser.add_argument("--version", action="version", version=f"causaldsl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    exits = "Exit code: 0 all claims held, 1 one fell, 2 the program is wrong, 3 the run failed."
    run = commands.add_parser("run", help="run a program and check its claims", epilog=exits)
    run.add_argument("program", type=Path, help="a .cpatch file")
    add_run_options(run)
    _add_settings(run)
    run.set_defaults(command=_run)

    audit = commands.add_parser("audit", help="is a direction a feature or an illusion?")
    add_arguments(audit)
    add_run_options(audit)
    audit.set_defaults(command=lambda options: run_audit(options, _run), settings=[])

    check = commands.add_parser("check", help="check a program without loading any weight")
    check.add_argument("program", type=Path, help="a .cpatch file")
    _add_settings(check)
    check.add_argument("--tree", action="store_true", help="print the syntax tree")
    check.set_defaults(command=_check)

    graph = commands.add_parser("graph", help="print the graph that a program compiles to")
    graph.add_argument("program", type=Path, help="a .cpatch file")
    _add_settings(graph)
    add_graph_options(graph)
    graph.set_defaults(command=lambda options: show_graph(options, _load))

    formatting = commands.add_parser("format", help="rewrite a program in the house style")
    formatting.add_argument("program", type=Path, help="a .cpatch file")
    formatting.add_argument("--check", action="store_true", help="only say whether it would change")
    formatting.set_defaults(command=_format)

    sites = commands.add_parser("sites", help="list a model's sites with their shapes")
    sites.add_argument("model", help="a name, as in a program, or a folder")
    sites.add_argument("--all", action="store_true", help="every layer and head, one line each")
    sites.set_defaults(command=_sites)

    models = commands.add_parser("models", help="list models; `models pull NAME` fetches one")
    models.add_argument("action", nargs="?", choices=("list", "pull"), default="list")
    models.add_argument("name", nargs="?", help="of the model to fetch")
    models.set_defaults(command=_models)
    return parser


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="give a param of the program another value; --set model=NAME another model",
    )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for garbage: importing torch and transformers makes a million objects that
    stay, and going through them again and again is a fifth of the time that it takes. Once they
    are there, they are never looked at again, also not when the process ends."""
    collects, before = gc.isenabled(), [name in sys.modules for name in _LARGEST]
    gc.disable()
    try:
        yield
    finally:
        if before != [name in sys.modules for name in _LARGEST]:
            gc.freeze()
        if collects:
            gc.enable()


@_uncollected()
def _load(options: argparse.Namespace) -> CheckedProgram:
    from causaldsl.check.params import read_settings
    from causaldsl.check.program import check_file

    path: Path = options.program
    if not path.is_file():
        raise Mistake(
            "missing-file", f"there is no program {path}", "give the path of a .cpatch file"
        )
    try:
        return check_file(path, complain, read_settings(options.settings))
    except UnicodeDecodeError as error:
        raise Mistake("unreadable-file", f"{path} is not UTF-8 text: {error}") from None


def _check(options: argparse.Namespace) -> int:
    program = _load(options)
    if options.tree:
        from causaldsl.syntax.parse import parse, tree_text

        tell(tree_text(parse(program.source)))
        return HELD
    runs = sum(len(m.runs) for m in program.measurements.values())
    pairs = sum(len(p) for f in program.families.values() for p in (f.train, f.test, f.whole) if p)
    model = program.model.name if program.model else "no model"
    tell(
        f"{options.program} is right: {model}, {pairs} pairs, {runs} runs, "
        f"{len(program.claims)} claims"
    )
    return HELD


def _format(options: argparse.Namespace) -> int:
    from causaldsl.syntax.format import format_program
    from causaldsl.syntax.parse import parse_file

    if not options.program.is_file():
        raise Mistake("missing-file", f"there is no program {options.program}")
    try:
        before = options.program.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Mistake("unreadable-file", f"{options.program} is not UTF-8 text: {error}") from None
    after = format_program(parse_file(options.program))
    if options.check:
        tell(f"{options.program} {'is' if before == after else 'is not'} in the house style")
        return HELD if before == after else FELL
    if before != after:
        path = options.program.resolve()
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(after)
        shutil.copymode(path, draft)
        os.replace(draft, path)
    return HELD


def _sites(options: argparse.Namespace) -> int:
    from rich.table import Table

    from causaldsl.model.catalog import resolve

    spec = resolve(options.model, Path.cwd(), complain)
    shapes = spec.shapes
    table = Table(
        title=f"{spec.name}: {shapes.architecture}, {shapes.n_layers} layers", title_justify="left"
    )
    for column in ("site", "width", "TransformerLens hook", ""):
        table.add_column(column, overflow="fold")
    for row in _site_rows(shapes, options.all):
        table.add_row(*row)
    console().print(table)
    return HELD


def _site_rows(shapes: Shapes, every: bool) -> list[tuple[str, ...]]:
    """All sites, or one line for each kind with the range of its index."""
    from causaldsl.model.sites import all_sites
    from causaldsl.vocabulary.sites import SITES

    rows: dict[str, tuple[str, ...]] = {}
    for site in all_sites(shapes):
        name, hook = str(site), site.hook_name
        if not every and site.layer is not None:
            count = shapes.n_kv_heads if site.kind.startswith("kv") else shapes.n_heads
            owner, dot, part = site.kind.partition(".")
            heads = f".0..{count - 1}" if site.head is not None else ""
            layers = f"0..{shapes.n_layers - 1}" if shapes.n_layers > 1 else "0"
            name = f"{owner}[{layers}{heads}]{dot}{part}"
            hook = hook.replace(f".{site.layer}.", ".{layer}.")
        rows[name] = (
            name.replace("[", "\\["),
            str(site.width(shapes)),
            hook,
            site.word.doc,
        )
    rows |= {
        site.word: _called_row(site, shapes) for site in SITES.values() if site.call and shapes.text
    }
    return list(rows.values())


def _called_row(site: SiteWord, shapes: Shapes) -> tuple[str, ...]:
    """A site that is written as a call."""
    width = str(getattr(shapes, site.width)) if site.width else "any"
    return site.form.replace("[", "\\["), width, "", site.doc


def _models(options: argparse.Namespace) -> int:
    from rich.table import Table

    from causaldsl.model.catalog import catalog, pull

    if options.action == "pull":
        if not options.name:
            raise Mistake("no-name", "which model?", "causaldsl models pull smollm2-135m")
        spec = pull(options.name, complain)
        tell(f"{spec.name} is ready: {spec.path or 'built in'}")
        return HELD
    table = Table(title="Models that a program can name", title_justify="left")
    for column in ("name", "about", "licence", "size", "on this machine"):
        table.add_column(column, overflow="fold", min_width=12)
    for entry in catalog():
        where = str(entry.where or "built in") if entry.present else "no: causaldsl models pull"
        table.add_row(entry.name, entry.about, entry.licence, entry.size, where)
    out = console()
    out.print(table)
    out.print("Also a local Hugging Face folder, a GGUF file, or a hub name such as gpt2.")
    return HELD


def _run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from causaldsl.graph.compiler import compile_program
    from causaldsl.results.store import run_folder

    started = time.perf_counter()
    program = _load(options)
    graph = compile_program(program)
    folder = options.out or Path("runs") / options.program.stem / _run_key(graph, options)
    watched = Console(stderr=True)
    with run_folder(folder) as draft, _progress(watched) as progress:
        held, text, results = _execute(program, graph, options, progress, started, draft)
    if options.json:
        tell(text)
    else:
        from causaldsl.report.tables import print_results

        out = console()
        print_results(results, out)
        _name_files(out, folder, program)
    return HELD if held else FELL


def _execute(program, graph, options, progress, started, draft):  # type: ignore[no-untyped-def]
    with _uncollected():
        from causaldsl.engine.interpret import gather, interpret, subspace_tensors
        from causaldsl.engine.open import open_session
        from causaldsl.engine.precision import measure_precision
        from causaldsl.engine.session import Settings
        from causaldsl.report.write import write_run
        from causaldsl.results.records import Results

    if program.model is not None and program.model.kind == "hub":
        from causaldsl.model.catalog import pull

        program.model = pull(program.model.name, lambda message: progress(message, 0, 0))
    settings = Settings(
        options.backend,
        options.device,
        options.dtype,
        options.seed,
        tf32=options.tf32,
        memory=options.memory,
    )
    with _uncollected():
        session = open_session(program, graph, settings, progress)
    interpret(session)
    measure_precision(session)
    results = Results.model_validate(gather(program, session, started))
    progress("writing the run's files", 0, 0)
    write_run(draft, program, graph, results, subspace_tensors(program, session))
    return results.held, results.model_dump_json(indent=1), results


def _run_key(graph: Graph, options: argparse.Namespace) -> str:
    """Identifies a run by what it computes: the graph's operations and the settings."""
    settings = [options.backend, options.device, options.dtype, str(options.seed)]
    settings += ["tf32"] if options.tf32 else []
    parts = [*graph.network.nodes, *settings]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _progress(watched: Console):  # type: ignore[no-untyped-def]
    """A bar for what is being done now; quiet when nobody watches."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=watched, transient=True, disable=not watched.is_terminal
    ) as bars:
        task = bars.add_task("starting", total=None)

        def update(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total or None)

        yield update


def _name_files(out: Console, folder: Path, program: CheckedProgram) -> None:
    pictures = [f"{o.stem}{o.suffix}" for o in program.outputs]
    rendered = {o.target for o in program.outputs}
    pictures += [f"{name}.svg" for name in program.traces if name not in rendered]
    out.print(f"report    {folder / 'report.html'}", soft_wrap=True)
    out.print(f"results   {folder / 'results.json'}", soft_wrap=True)
    for picture in dict.fromkeys([*pictures, "graph.svg"]):
        out.print(f"picture   {folder / picture}", soft_wrap=True)
