"""Which cells of sweeps come out on top, before a program that takes these is run."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.choices import Choice
from causaldsl.content_store import ContentStore
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.attribution.found import Attributed
from causaldsl.engine.interpret import interpret
from causaldsl.engine.metrics import Measured
from causaldsl.engine.open import open_session
from causaldsl.engine.ties import said_of_tie, tie_at
from causaldsl.graph.compiler import Compiler
from causaldsl.plan.settings import Progress, Settings


def chosen_cells(
    program: CheckedProgram,
    choices: Iterable[Choice],
    settings: Settings,
    progress: Progress,
    store: ContentStore | None,
    own: set[str],
) -> tuple[dict[Choice, tuple[str, ...]], list[str]]:
    """For each choice the values of its loop with the largest numbers, in the loop's order.

    Of equal numbers the first is taken; beside the choices come the notes that say so.
    What this puts into the store is added to ``own``.

    Raises:
        RunFailure: where the metric is withheld, and where estimates that are 0 would be chosen.
    """
    compiler, asked = Compiler(program), tuple(choices)
    for choice in asked:
        compiler.make(choice.sweep, program.defined[choice.sweep])
    session = open_session(program, compiler.graph, settings, progress, store)
    interpret(session)
    if session.kept is not None:
        own |= session.kept.put
    found, said = {}, []
    for choice in asked:
        sizes = _sizes(choice, session.values[compiler.graph.key_of(choice.sweep)])
        order = torch.argsort(-sizes, stable=True).tolist()
        found[choice] = tuple(choice.labels[i] for i in sorted(order[: choice.count]))
        tied = tie_at(sizes, order, choice.count, settings.dtype)
        if tied:
            said.append(said_of_tie(str(choice), tied, choice.labels.__getitem__))
    return found, said


def _sizes(choice: Choice, value: Attributed | Measured) -> Tensor:
    """The numbers (c,) by which it is chosen: those of cells, or the sizes of estimates."""
    if isinstance(value, Attributed):
        _check_estimates(choice, value)
        return value.means.abs()
    numbers = [float(value[cell][choice.metric].mean) for cell in choice.cells]
    if not all(map(math.isfinite, numbers)):
        raise RunFailure(
            f"{choice} can't be found: {value.withheld.get(choice.metric, 'no number')}",
            "choose by another metric, such as logit_diff",
        )
    return torch.tensor(numbers, dtype=torch.float64)


def _check_estimates(choice: Choice, found: Attributed) -> None:
    """Among estimates of exactly 0 none is larger: what was chosen would be the first by name."""
    known = int(found.means.count_nonzero())
    if known < choice.count:
        raise RunFailure(
            f"{choice} can't be found: of {len(choice.labels)} estimates, {known} differ from 0",
            f"choose from 1 to {known} of them"
            if known
            else "attribute to sites that differ between base and source, or to other pairs",
        )
