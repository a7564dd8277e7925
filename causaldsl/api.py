"""Check, compile and run programs from Python.

Nothing here prints, and nothing of the process stays changed: while a run sets what numbers depend
on (``engine/arithmetic.py``), other runs of the process wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causaldsl.diagnostics import Mistake, RunFailure, Source
from causaldsl.plan.settings import USUAL, Progress, Settings
from causaldsl.process import uncollected

if TYPE_CHECKING:
    from pyarrow import Table

    from causaldsl.check.checked import CheckedProgram
    from causaldsl.cluster.where import Workers
    from causaldsl.content_store import ContentStore
    from causaldsl.engine.session import Keeps
    from causaldsl.graph.graph import Graph
    from causaldsl.model.shapes import ModelDims
    from causaldsl.plan.cost import Cost
    from causaldsl.plan.planner import Plan
    from causaldsl.report.in_notebooks import Drawing, Numbers
    from causaldsl.results.lock import Lock
    from causaldsl.results.records import Results
    from causaldsl.results.values import Block

Params = Mapping[str, str | float]
"""Other values for a program's params by name; `model` is its model."""
_AS_WRITTEN: Params = {}
Limits = Mapping[str, int]
"""Limits of a program by name that are other than usual, as `--limit` raises them."""
_USUAL: Limits = {}
Data = Mapping[str, Any]
"""Tables that the program's `given` names: frames of pandas or polars, pyarrow tables, or lists."""
_NONE: Data = {}
_ASSUMED = 2**30
"""Bytes that a plan counts with: the largest budget that a run takes by itself."""
_TURN = threading.RLock()


@dataclass(frozen=True, eq=False)
class Compiled:
    """A checked program and its graph of operations."""

    program: CheckedProgram = field(repr=False)
    graph: Graph = field(repr=False)
    seconds: float = 0.0
    """How long checking (where it was done) and compiling took."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a run found."""

    program: CheckedProgram = field(repr=False)
    graph: Graph = field(repr=False)
    results: Results = field(repr=False)
    """All numbers with their intervals, as in results.json."""
    subspaces: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """For every named subspace two float64 tensors on the CPU: `vectors` (d, k), as they were made,
    and `basis` (d, rank), orthonormal columns with the same span."""
    by_pair: Sequence[Block] = field(repr=False)
    """The numbers by pair behind the results, one metric of one arm each."""
    folder: Path | None = None
    """Where the run's files are; None if none were written."""
    unwritten: str = ""
    """Why its files could not be written, where they were to be."""
    reused: tuple[int, int] = (0, 0)
    """How many of the operations that take the model came from the store, and of how many."""
    unkept: str = ""
    """Why what it found could not all be kept in the store."""

    @property
    def held(self) -> bool:
        """Whether all claims held."""
        return self.results.held

    @property
    def values(self) -> Table:
        """The same as one pyarrow table in long form; `run.values.to_pandas()` is a frame."""
        from causaldsl.results.values import values_table

        return values_table(self.by_pair)

    @property
    def measures(self) -> Mapping[str, Numbers]:
        """The numbers of each measure and sweep; `run.measures["m"].to_pandas()` is a frame."""
        from causaldsl.report.in_notebooks import measures_of

        return measures_of(self.program, self.results)

    @property
    def pictures(self) -> Mapping[str, Drawing]:
        """The run's pictures, each of which is drawn when it is looked at (`svg`)."""
        from causaldsl.report.in_notebooks import drawings

        return drawings(self.program, self.graph, self.results)

    def __repr__(self) -> str:
        claims = len(self.results.expectations)
        measured = ", ".join(self.results.measures) or "nothing"
        return f"<Run: {claims} claims, {self.verdict}; measured: {measured}>"

    def _repr_html_(self) -> str:
        from causaldsl.report.in_notebooks import run_html

        return run_html(self.results, self.measures, self.folder)

    @property
    def verdict(self) -> str:
        """`held` if all claims did, `fell` if one fell, else `undecided`."""
        return self.results.verdict


Program = str | Path
"""A program's text, or the path of a file: a `Path`, or one line that ends in `.cpatch`."""


def check(
    program: Program,
    *,
    settings: Params = _AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = _USUAL,
    data: Data = _NONE,
) -> CheckedProgram:
    """The program with its names, types, shapes and positions checked; no weight is loaded.

    Paths in a text start at the current folder. ``allow`` are files and folders that the program
    may read beside its own folder, ``data`` the tables that its `given` names.

    Raises:
        ProgramError: with every independent mistake, in source order.
        Mistake: if there is no such file, or it can't be read, for a setting that the program has
            no param for, and for a limit that does not exist.
    """
    values = {name: str(value) for name, value in settings.items()}
    told = _told(progress)
    with uncollected():
        from causaldsl.check.limits import Limits
        from causaldsl.check.program import Checker, check_file

        more = [Path(place) for place in allow], Limits(limits), data
        if isinstance(program, str) and ("\n" in program or not program.endswith(".cpatch")):
            return Checker(
                Source("<text>", program), Path("text.cpatch"), told, values, *more
            ).check()
        path = Path(program)
        if not path.is_file():
            help = "give the path of a .cpatch file"
            raise Mistake("missing-file", f"there is no program {path}", help)
        try:
            return check_file(path, told, values, *more)
        except UnicodeDecodeError as error:
            raise Mistake("unreadable-file", f"{path} is not UTF-8 text: {error}") from None


def compile(
    program: Program | CheckedProgram | Compiled,
    *,
    settings: Params = _AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = _USUAL,
    data: Data = _NONE,
) -> Compiled:
    """The program's graph of operations; a text or file is checked first, with ``allow`` and
    ``limits`` as in :func:`check`. No weight is loaded.

    Raises:
        ProgramError, Mistake: as :func:`check`; `Mistake` also for settings of a program that is
            checked already.
    """
    started = time.perf_counter()
    if isinstance(program, str | Path):
        program = check(
            program, settings=settings, progress=progress, allow=allow, limits=limits, data=data
        )
    elif settings or data:
        what = "its params can't be set" if settings else "it can't be given data"
        message = f"the program has been checked, so {what} any more"
        raise Mistake(
            "set-too-late", message, f"give `{'settings' if settings else 'data'}` to `check`"
        )
    if isinstance(program, Compiled):
        return program
    from causaldsl.graph.compiler import compile_program

    return Compiled(program, compile_program(program), time.perf_counter() - started)


def plan(
    program: Program | CheckedProgram | Compiled,
    *,
    backend: str = "cone",
    dtype: str | None = None,
    memory: int | None = None,
    settings: Params = _AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = _USUAL,
    data: Data = _NONE,
) -> str:
    """How a program would be run, as text: passes in order, their arithmetic, what is kept.

    ``memory`` is what clean runs may keep, in bytes; by default 1 GiB.

    Raises:
        ProgramError, Mistake: as :func:`compile`; `Mistake` also if the program names no model.
    """
    from causaldsl.plan.printing import plan_text

    one = _planned(
        program, backend, dtype, memory, settings, progress, allow=allow, limits=limits, data=data
    )
    graph = one.compiled.graph
    return plan_text(graph, one.plan, one.shapes, one.budget, one.weights, one.dtype)


def cost(
    program: Program | CheckedProgram | Compiled,
    *,
    backend: str = "cone",
    dtype: str | None = None,
    memory: int | None = None,
    settings: Params = _AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = _USUAL,
    data: Data = _NONE,
) -> Cost:
    """What a run of a program takes on this machine, reckoned before anything is loaded.

    Raises:
        ProgramError, Mistake: as :func:`plan`.
    """
    from causaldsl.plan.cost import cost_of
    from causaldsl.plan.machine import this_machine

    one = _planned(
        program, backend, dtype, memory, settings, progress, allow=allow, limits=limits, data=data
    )
    graph, pictures = one.compiled.graph, 1 + len(one.compiled.program.outputs)
    machine, weights = this_machine(), one.weights or 0
    return cost_of(graph, one.plan, one.shapes, machine, weights, one.dtype, one.budget, pictures)


@dataclass(frozen=True)
class _Planned:
    """A program with its plan; its model's dimensions, and how many weights it has, if known."""

    compiled: Compiled
    plan: Plan
    shapes: ModelDims
    weights: int | None
    dtype: str
    budget: int
    """Bytes that clean runs may keep."""


def _planned(
    program: Program | CheckedProgram | Compiled,
    backend: str,
    dtype: str | None,
    memory: int | None,
    settings: Params,
    progress: Progress | None,
    **reading: Any,
) -> _Planned:
    chosen = Settings(backend, dtype=dtype or USUAL, memory=memory)
    compiled = compile(program, settings=settings, progress=progress, **reading)
    chosen = chosen.of_program(compiled.program.model, dtype)
    from causaldsl.model.folders import weight_count
    from causaldsl.plan.planner import plan_ahead

    model = compiled.program.model
    if model is None:
        help = 'add a line: model lm = "smollm2-135m"'
        raise Mistake("no-model", "the program names no model", help)
    made = plan_ahead(compiled.graph, model.shapes, backend)
    weights = weight_count(model.path) if model.path else None
    budget = chosen.memory or _ASSUMED
    return _Planned(compiled, made, model.shapes, weights, chosen.dtype, budget)


def run(
    program: Program | CheckedProgram | Compiled,
    *,
    out: str | Path | None = None,
    backend: str = "cone",
    device: str = "cpu",
    dtype: str | None = None,
    seed: int = 0,
    memory: int | None = None,
    tf32: bool = False,
    store: str | Path | None = None,
    workers: Workers | None = None,
    model: Any = None,
    settings: Params = _AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = _USUAL,
    data: Data = _NONE,
) -> Run:
    """Run a program on its model, or on a ``model`` that is in memory.

    ``model`` is a model of transformers and its tokenizer, or one object that has both; it takes
    the place of the one that the program names, and stays as it was. The run reads it from a folder
    that is deleted at the end.

    ``out`` is the run's folder, which is there with all numbers as soon as these are found, and
    before anything is drawn; without it, no folder is. The
    choices are those of `causaldsl run`: ``seed`` is added to the program's seeds, ``memory`` is
    how many bytes clean runs may keep beside the model, and without ``dtype`` it is the program's,
    or float32. ``store`` is the folder of results that are not made again (docs/store.md), "none"
    for none; without it, that of $CAUSALDSL_STORE or the user's cache. ``workers`` are other
    processes that make the run's values (docs/workers.md).

    Raises:
        ProgramError, Mistake: as :func:`compile`; `Mistake` also for a choice that does not exist.
        RunFailure: if the run can't go on, or ``out`` holds anything but a run.
    """
    if model is not None:
        from causaldsl.engine.weights.in_memory import in_folder

        with in_folder(model) as place:
            named = {**settings, "model": str(place)}
            return run(
                program, out=out, backend=backend, device=device, dtype=dtype, seed=seed,
                memory=memory, tf32=tf32, store=store, workers=workers, settings=named,
                progress=progress, allow=allow, limits=limits, data=data,
            )  # fmt: skip
    chosen = Settings(backend, device, dtype or USUAL, seed, tf32=tf32, memory=memory)
    compiled = compile(
        program, settings=settings, progress=progress, allow=allow, limits=limits, data=data
    )
    chosen = chosen.of_program(compiled.program.model, dtype)
    folder = None if out is None else Path(out)
    compiled = with_weights(compiled, folder, progress)
    from causaldsl.content_store import chosen_store

    return run_compiled(
        compiled, chosen, folder, progress, store=chosen_store(store), workers=workers
    )


def run_compiled(
    compiled: Compiled,
    chosen: Settings,
    out: Path | None = None,
    progress: Progress | None = None,
    lock: Lock | None = None,
    store: ContentStore | None = None,
    workers: Workers | None = None,
) -> Run:
    """Run what :func:`with_weights` gives, with the choices as one value.

    ``lock`` says which claims were made before the run; ``store`` has what earlier runs found.
    With ``workers``, they put into the store what it lacks, and the run takes it from there.

    Raises:
        RunFailure: as :func:`run`.
        KeyboardInterrupt: with what was kept, if it is stopped.
    """
    started = time.perf_counter() - compiled.seconds
    tell = progress or (lambda what, done, total: None)
    said, compiled = compiled.graph, _decided(compiled, chosen, tell, store)
    program, graph = compiled.program, compiled.graph
    from causaldsl.results.lock import lost, registered, with_registered
    from causaldsl.results.store import run_folder

    found: Run | None = None
    with _TURN:
        try:
            with (
                nullcontext() if out is None else run_folder(out) as draft,
                _made_by(workers, compiled, chosen, out, tell, store) as (store, before),
            ):
                with uncollected():
                    from causaldsl.engine.arithmetic import arithmetic
                    from causaldsl.engine.by_pair import blocks
                    from causaldsl.engine.interpret import interpret
                    from causaldsl.engine.open import open_session
                    from causaldsl.engine.precision import measure_precision
                    from causaldsl.engine.records import gather
                    from causaldsl.engine.records.values import subspace_tensors
                    from causaldsl.report.write import draw_run, write_numbers

                with arithmetic(chosen):
                    with uncollected():
                        session = open_session(program, graph, chosen, tell, store)
                    with _stopped(session.kept):
                        interpret(session)
                        measure_precision(session)
                    results = gather(program, session, time.perf_counter() - started)
                    # A claim is on record as it was before anything ran.
                    marks = registered(lock, said, chosen.seed, program.model)
                    results = with_registered(results, marks, lost(lock, said))
                    subspaces = subspace_tensors(program, session)
                    by_pair = tuple(blocks(program, session))
                found = Run(program, graph, results, subspaces, by_pair)
                if session.kept is not None:
                    reused, unkept = session.kept.reused, session.kept.problem
                    found = replace(found, reused=before or reused, unkept=unkept)
                if draft is not None:
                    tell("writing the run's files", 0, 0)
                    if lock is not None:
                        (draft / f"{program.path.stem}.lock").write_text(lock.text(), "utf-8")
                    write_numbers(draft, program, graph, results, subspaces, by_pair, chosen)
        except (OSError, RunFailure) as error:
            if found is None:  # else what was found is not lost with the disk
                raise
            return replace(found, unwritten=str(error))
        if out is None:
            return found
        try:
            results = draw_run(out.resolve(), program, graph, results)
        except KeyboardInterrupt:
            kept = f"stopped while the pictures were drawn; all numbers are in {out}"
            raise KeyboardInterrupt(kept) from None
    return replace(found, results=results, folder=out.absolute())


def _decided(
    compiled: Compiled, chosen: Settings, tell: Progress, store: ContentStore | None
) -> Compiled:
    """The program with what only a run can say of it: pairs that are right, cells on top."""
    program, graph = compiled.program, compiled.graph
    sets = [pairs for pairs in graph.pair_sets if pairs.where]
    if not sets and not program.undecided:
        return compiled
    from causaldsl.check.program import checked_again
    from causaldsl.engine.arithmetic import arithmetic
    from causaldsl.engine.chosen import chosen_cells
    from causaldsl.engine.right import right_pairs
    from causaldsl.graph.compiler import compile_program

    right = dict(program.right)
    with _TURN, arithmetic(chosen):
        if sets:
            right = right_pairs(program, sets, chosen, tell, store)
            program = checked_again(program, right, {})
        while program.undecided:
            # A sweep of what another one chose comes after it.
            ready = [one for one, hangs_on in program.undecided.items() if not hangs_on]
            cells = chosen_cells(program, ready, chosen, tell, store)
            program = checked_again(program, right, {**program.chosen, **cells})
    return replace(compiled, program=program, graph=compile_program(program))


@contextmanager
def _made_by(
    workers: Workers | None,
    compiled: Compiled,
    chosen: Settings,
    out: Path | None,
    tell: Progress,
    store: ContentStore | None,
) -> Iterator[tuple[ContentStore | None, tuple[int, int] | None]]:
    """The store, after workers put into it what it lacked, and how much of a run was there before.

    Without a store, one that is deleted at the end of the block.
    """
    if workers is None:
        yield store, None
        return
    from causaldsl.cluster.coordinate import passing_store, spread

    beside = Path.cwd() if out is None else out.resolve().parent
    with passing_store(beside) if store is None else nullcontext(store) as shared:
        try:
            before = spread(compiled.program, compiled.graph, chosen, shared, workers, tell)
        except KeyboardInterrupt:
            if store is None:
                raise KeyboardInterrupt from None
            raise
        yield shared, before


@contextmanager
def _stopped(kept: Keeps | None) -> Iterator[None]:
    """A run that is stopped says what of it is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept.stopped if kept is not None else "") from None


def with_weights(
    compiled: Compiled, out: Path | None = None, progress: Progress | None = None
) -> Compiled:
    """The program with its model of the hub fetched, for a run that goes to ``out``.

    Raises:
        Mistake: if it can't be fetched.
        RunFailure: if ``out`` holds anything but a run.
    """
    if out is not None:
        from causaldsl.results.store import check_free

        check_free(out)
    model = compiled.program.model
    if model is None or model.kind != "hub":
        return compiled
    from causaldsl.model.catalog import pulled

    fetched = pulled(model, _told(progress))
    return replace(compiled, program=replace(compiled.program, model=fetched))


def _told(progress: Progress | None) -> Callable[[str], None] | None:
    """A callback that takes messages alone, and tells them as progress without a length."""
    return None if progress is None else lambda message: progress(message, 0, 0)
