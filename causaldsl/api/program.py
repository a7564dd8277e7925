"""Check, compile and plan programs: what needs no weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causaldsl.diagnostics import Mistake, Source
from causaldsl.plan.settings import USUAL, Progress, Settings
from causaldsl.process import uncollected

if TYPE_CHECKING:
    from causaldsl.check.checked import CheckedProgram
    from causaldsl.graph.graph import Graph
    from causaldsl.model.shapes import ModelDims
    from causaldsl.plan.cost import Cost
    from causaldsl.plan.planner import Plan

Params = Mapping[str, str | float]
"""Other values for a program's params by name; `model` is its model."""
AS_WRITTEN: Params = {}
Limits = Mapping[str, int]
"""Limits of a program by name that are other than usual, as `--limit` raises them."""
USUAL_LIMITS: Limits = {}
Data = Mapping[str, Any]
"""Tables that the program's `given` names: frames of pandas or polars, pyarrow tables, or lists."""
NO_DATA: Data = {}
_ASSUMED = 2**30
"""Bytes that a plan counts with: the largest budget that a run takes by itself."""


Program = str | Path
"""A program's text, or the path of a file: a `Path`, or one line that ends in `.cpatch`."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """A checked program and its graph of operations."""

    program: CheckedProgram = field(repr=False)
    graph: Graph = field(repr=False)
    seconds: float = 0.0
    """How long checking (where it was done) and compiling took."""


def check(
    program: Program,
    *,
    settings: Params = AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = USUAL_LIMITS,
    data: Data = NO_DATA,
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
    told = messages_of(progress)
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
    settings: Params = AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = USUAL_LIMITS,
    data: Data = NO_DATA,
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
    settings: Params = AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = USUAL_LIMITS,
    data: Data = NO_DATA,
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
    settings: Params = AS_WRITTEN,
    progress: Progress | None = None,
    allow: Iterable[str | Path] = (),
    limits: Limits = USUAL_LIMITS,
    data: Data = NO_DATA,
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


def messages_of(progress: Progress | None) -> Callable[[str], None] | None:
    """A callback that takes messages alone, and tells them as progress without a length."""
    return None if progress is None else lambda message: progress(message, 0, 0)
