"""Projections of activations on a direction, by class, and how far apart the classes are.

For an activation x and a direction v the projection is <x, v> / |v|. Of two classes A and B with
projections a_i, b_j, means m, standard deviations s (n - 1) and sizes n::

    auc = share of (i, j) with a_i > b_j, ties counting half
    d   = (m_A - m_B) / sqrt(((n_A - 1) s_A^2 + (n_B - 1) s_B^2) / (n_A + n_B - 2))      (Cohen's d)

Both have a sign: of one set's classes the first is the first in the alphabet, of several sets the
one that is written first. That classes are apart along a direction does not say that the model
uses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import activations_of
from causaldsl.engine.bootstrap import Bootstrap
from causaldsl.engine.edits import Read
from causaldsl.engine.here import Here
from causaldsl.engine.metrics import auc
from causaldsl.engine.registry import evaluates
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words.runs import Arm, changes_of, check_fired
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.histograms import HistogramNumber, HistogramWord, Projection


@dataclass(frozen=True)
class Projected:
    """Projections (n, k) of n prompts at k positions, with the class of each prompt."""

    values: list[Tensor]
    classes: list[str]


@dataclass(frozen=True)
class ClassValue:
    """One class in one arm: mean with its bootstrap interval, spread, and counts by bin."""

    n: int
    mean: float
    low: float
    high: float
    sd: float
    counts: list[int]


@dataclass(frozen=True)
class ArmValue:
    """One arm: its classes, and how far apart they are if there are two."""

    classes: dict[str, ClassValue]
    auc: float | None
    d: float | None


@dataclass(frozen=True)
class HistogramValue:
    edges: list[float]
    arms: dict[str, ArmValue]


@evaluates(Projection)
def projection(here: Here[Projection], along: SubspaceValue) -> Projected:
    if along.rank == 0:
        raise RunFailure("the direction to project on is zero", "choose another direction")
    graph, operation = here.session.graph, here.operation
    run_key = operation.input("run")
    run = graph.operation(run_key)
    changed = bool(run.inputs_as("do"))
    key = run.input("base") if changed else run_key
    runs = here.session.runs(key, here.backend)
    values = _edited(here, run, runs) if changed else here.of_run(key)
    direction = along.direction
    projected = [value.cpu().double() @ direction for value in values]
    return Projected(projected, [prompt.cls for prompt in runs.prompts])


def _edited(here: Here[Projection], run: Operation, runs: PromptRuns) -> list[Tensor]:
    """The site's activations, (k, d) for each base, with the run's interventions in force."""
    arm, at = Arm(changes_of(here.session, run)), here.at
    parts: list[Tensor] = []
    for group in runs.groups:
        read = Read(at.site, group.positions[at])
        (values,) = activations_of(runs.backend, group.clean, arm.edits(group), [read])
        parts.append(values)
    check_fired(arm)
    return runs.by_pair(parts)


@evaluates(HistogramWord)
def histogram(here: Here[HistogramWord]) -> HistogramValue:
    word = here.word
    names = dict.fromkeys(projected.role for projected in here.operation.inputs)
    arms = {name: _by_class(word, here.values(name)) for name in names}
    everything = torch.cat([values for arm in arms.values() for values in arm.values()])
    low, high = float(everything.min()), float(everything.max())
    if low == high:  # all the same: a bin of width 1 around it
        low, high = low - 0.5, high + 0.5
    edges = torch.linspace(low, high, word.bins + 1, dtype=torch.float64)
    bootstrap = here.session.bootstrap("bootstrap histogram")
    return HistogramValue(
        edges.tolist(), {name: _arm(bootstrap, arm, edges) for name, arm in arms.items()}
    )


@evaluates(HistogramNumber)
def histogram_number(here: Here[HistogramNumber], histogram: HistogramValue) -> float:
    word, arm = here.word, histogram.arms[here.word.arm]
    value = getattr(arm.classes[word.cls] if word.cls else arm, word.statistic)
    if value is None:
        raise RunFailure(f"{word.statistic} is not defined: the classes have no spread")
    return float(value)


def _by_class(word: HistogramWord, projected: list[Projected]) -> dict[str, Tensor]:
    """All projections of each class in one arm, in one row."""
    if word.by != "class":
        return {
            name: torch.cat(part.values) for name, part in zip(word.classes, projected, strict=True)
        }
    (only,) = projected
    return {
        name: torch.cat([v for v, c in zip(only.values, only.classes, strict=True) if c == name])
        for name in word.classes
    }


def _arm(bootstrap: Bootstrap, classes: dict[str, Tensor], edges: Tensor) -> ArmValue:
    separation = separate(*classes.values()) if len(classes) == 2 else (None, None)
    return ArmValue({name: _class(bootstrap, v, edges) for name, v in classes.items()}, *separation)


def _class(bootstrap: Bootstrap, values: Tensor, edges: Tensor) -> ClassValue:
    found = bootstrap.mean(values)
    inner = torch.bucketize(values, edges[1:-1], right=True)
    counts = torch.bincount(inner, minlength=len(edges) - 1)
    sd = float(values.std()) if found.n > 1 else 0.0
    return ClassValue(found.n, found.mean, found.low, found.high, sd, counts.tolist())


def separate(first: Tensor, second: Tensor) -> tuple[float, float | None]:
    """AUC and Cohen's d of two classes; no d where neither class has any spread."""
    n, m = len(first), len(second)
    squares = sum(float((v - v.mean()).square().sum()) for v in (first, second))
    spread = math.sqrt(squares / (n + m - 2)) if n + m > 2 else 0.0
    return auc(first, second), float(first.mean() - second.mean()) / spread if spread > 0 else None
