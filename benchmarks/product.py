"""Our side of every comparison: a program's text, checked and compiled once, run from nothing.

A run is what `causaldsl run` does between loading the weights and writing its files: a new session
with its plan, the clean runs, every operation with its intervals. What the session says of its
progress is all that is used to time parts of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from turns import Timing, now

from causaldsl.check.checked import CheckedProgram
from causaldsl.check.program import check_file
from causaldsl.engine.interpret import interpret
from causaldsl.engine.open import Backends
from causaldsl.engine.session import Session, Settings
from causaldsl.engine.weights.load import Loaded
from causaldsl.graph.compiler import compile_program
from causaldsl.graph.graph import Graph

NAME = "causaldsl"


@dataclass(frozen=True)
class Compiled:
    """A program and its graph; how long checking and compiling took."""

    program: CheckedProgram
    graph: Graph
    check: float
    compile: float


def compiled(text: str, folder: Path, name: str) -> Compiled:
    """Check and compile a program that is written to ``folder``."""
    path = folder / f"{name}.cpatch"
    path.write_text(text, encoding="utf-8")
    started = time.perf_counter()
    program = check_file(path)
    checked = time.perf_counter()
    graph = compile_program(program)
    return Compiled(program, graph, checked - started, time.perf_counter() - checked)


@dataclass
class Progress:
    """Everything that a session said, and when: (what, how much is done, of how much, seconds)."""

    heard: list[tuple[str, int, int, float]] = field(default_factory=list)

    def __call__(self, what: str, done: int, total: int) -> None:
        self.heard.append((what, done, total, now()))

    def steps(self) -> tuple[float, float]:
        """When training began, and seconds for an epoch of all trained subspaces together.

        Each one says when an epoch begins. The first interval of each is warm-up. Those trained one
        after another are added up; those trained together say so once.
        """
        begun = [(done, at) for what, done, _, at in self.heard if what.startswith("training")]
        fits: list[list[float]] = []
        for number, (done, at) in enumerate(begun):
            if number == 0 or done <= begun[number - 1][0]:
                fits.append([])
            fits[-1].append(at)
        assert fits, "nothing was trained"
        assert all(len(fit) > 2 for fit in fits), "too few epochs to time one"
        return begun[0][1], sum((fit[-1] - fit[1]) / (len(fit) - 2) for fit in fits)

    def clean(self, side: str) -> float:
        """Seconds of the clean run of one side."""
        times = [at for what, _, _, at in self.heard if what.startswith(f"clean {side} run")]
        return times[-1] - times[0]


class Product:
    """Programs on a model that is loaded already."""

    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self.backends = Backends(loaded, [])
        dtype = loaded.dtype_name
        self.settings = Settings(device=loaded.device, dtype=dtype)

    def run(self, compiled: Compiled) -> tuple[Session, Progress, float, float]:
        """The evaluated session, its progress, and when it began and ended."""
        progress = Progress()
        began = now()
        session = Session(compiled.graph, self.loaded, self.backends, self.settings, progress)
        interpret(session)
        return session, progress, began, now()


def ids(compiled: Compiled, name: str) -> tuple[Tensor, Tensor]:
    """The ids of bases and sources, as the program's pairs have them."""
    whole = compiled.program.families[name].whole
    assert whole is not None
    sides = ([pair.base.ids for pair in whole.pairs], [pair.source.ids for pair in whole.pairs])
    return torch.tensor(sides[0]), torch.tensor(sides[1])


def logit_diffs(session: Session, measured: str) -> Tensor:
    """(arms, n), the logit differences of all arms of a measure or sweep but the clean one."""
    graph = session.graph
    keys = [key for arm, key in graph.made[measured].parts.items() if arm != "clean"]
    return torch.stack([session.values[key].logit_diff for key in keys])


@dataclass
class Ours:
    """Our side: a run of a program, timed whole unless ``timing`` makes another number of it."""

    product: Product
    compiled: Compiled
    output: Callable[[Session], Tensor | None] = lambda session: None
    timing: Callable[[Progress, float, float], Timing] | None = None
    name: str = NAME

    def run(self) -> Timing:
        session, progress, began, ended = self.product.run(self.compiled)
        timing = Timing(ended - began)
        if self.timing is not None:
            timing = self.timing(progress, began, ended)
        timing.output = self.output(session)
        return timing
