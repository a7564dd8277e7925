"""Run programs. While a run sets what numbers depend on (``engine/arithmetic.py``), others wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causaldsl.api.found import Run
from causaldsl.api.program import (
    AS_WRITTEN,
    NO_DATA,
    USUAL_LIMITS,
    Compiled,
    Data,
    Limits,
    Params,
    Program,
    compile,
    messages_of,
)
from causaldsl.diagnostics import RunFailure
from causaldsl.plan.settings import USUAL, Progress, Settings
from causaldsl.process import uncollected

if TYPE_CHECKING:
    from causaldsl.check.checked import CheckedProgram
    from causaldsl.cluster.where import Workers
    from causaldsl.content_store import ContentStore
    from causaldsl.engine.session import Keeps
    from causaldsl.results.lock import Lock

_TURN = threading.RLock()


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
    settings: Params = AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = USUAL_LIMITS,
    data: Data = NO_DATA,
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
    own = set[str]()
    said, compiled = compiled.graph, decided_by_run(compiled, chosen, tell, store, own)
    program, graph = compiled.program, compiled.graph
    from causaldsl.results.lock import lost, registered, with_registered
    from causaldsl.results.store import run_folder

    found: Run | None = None
    with _TURN:
        try:
            with (
                nullcontext() if out is None else run_folder(out) as draft,
                _made_by(workers, compiled, chosen, out, tell, store, own) as (store, before),
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
                    reused, unkept = session.kept.reused(own), session.kept.problem
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


def decided_by_run(
    compiled: Compiled,
    chosen: Settings,
    tell: Progress,
    store: ContentStore | None,
    own: set[str],
) -> Compiled:
    """The program with what only a run can say of it: pairs that are right, cells on top.

    What is put into the store for that is added to the run's ``own``.
    """
    program, graph = compiled.program, compiled.graph
    sets = [pairs for pairs in graph.pair_sets if pairs.where]
    if not sets and not program.undecided:
        return compiled
    from causaldsl.check.program import checked_again
    from causaldsl.engine.arithmetic import arithmetic
    from causaldsl.engine.chosen import chosen_cells
    from causaldsl.engine.right import right_pairs
    from causaldsl.graph.compiler import compile_program

    right, said = dict(program.right), list[str]()
    with _TURN, arithmetic(chosen):
        if sets:
            right = right_pairs(program, sets, chosen, tell, store, own)
            program = checked_again(program, right, {})
        while program.undecided:
            # A sweep of what another one chose comes after it.
            ready = [one for one, hangs_on in program.undecided.items() if not hangs_on]
            cells, tied = chosen_cells(program, ready, chosen, tell, store, own)
            said += tied
            program = checked_again(program, right, {**program.chosen, **cells})
    program.readings += said
    return replace(compiled, program=program, graph=compile_program(program))


@contextmanager
def _made_by(
    workers: Workers | None,
    compiled: Compiled,
    chosen: Settings,
    out: Path | None,
    tell: Progress,
    store: ContentStore | None,
    own: set[str],
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
            before = spread(compiled.program, compiled.graph, chosen, shared, workers, tell, own)
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

    fetched = pulled(model, messages_of(progress))
    return replace(compiled, program=replace(compiled.program, model=fetched))
