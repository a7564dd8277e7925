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
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from causaldsl.check.pairs import PairSet
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.backend import activations_of
from causaldsl.engine.bootstrap import Over, Spread, ends
from causaldsl.engine.drawn import Drawn, Draws
from causaldsl.engine.edits import Read
from causaldsl.engine.here import Here
from causaldsl.engine.metrics import ROUNDING, auc
from causaldsl.engine.registry import evaluates
from causaldsl.engine.runs import PromptRuns
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.words.runs import Arm, changes_of, check_fired
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.histograms import HistogramNumber, HistogramWord, Projection


@dataclass(frozen=True)
class Projected:
    """Projections (k,) of each of n prompts at its k positions, with the class of each prompt."""

    values: list[Tensor]
    classes: list[str]
    pairs: PairSet

    def rows(self, cls: str | None = None) -> Rows:
        """All projections of one class, or of all."""
        kept = [i for i, name in enumerate(self.classes) if cls is None or name == cls]
        sizes = torch.tensor([len(self.values[i]) for i in kept])
        return Rows(
            torch.cat([self.values[i] for i in kept]),
            torch.tensor(kept).repeat_interleave(sizes),
            self.pairs,
        )


@dataclass(frozen=True)
class Rows:
    """Projections (m,) of one class in one row, and the pairs (m,) that they come from."""

    values: Tensor
    of_pair: Tensor
    pairs: PairSet

    def spread(self, session: Session, over: Over) -> Spread:
        """As many units as there are behind the class."""
        bootstrap = session.bootstrap(self.pairs)
        if over == "templates":
            return bootstrap.spread(over)
        units = bootstrap.units
        mine = {units.of_pair[pair] for pair in self.of_pair.tolist()}
        return Spread.of(len(mine), len({units.strata[unit] for unit in mine}))

    def weights(self, session: Session, over: Over) -> Iterator[Tensor]:
        """How often each projection was drawn, (r, m), in parts."""
        for weights in session.bootstrap(self.pairs).weights(over):
            yield weights[:, self.of_pair]

    def sums(self, session: Session, over: Over) -> tuple[Tensor, Tensor, Tensor]:
        """In every draw (r,): how many projections, their mean, their summed squares around it."""
        centre = self.values.mean()
        x = self.values - centre
        x = torch.stack([torch.ones_like(x), x, x.square()], 1)
        total, first, second = torch.cat([w @ x for w in self.weights(session, over)]).unbind(1)
        return total, centre + first / total, second - first.square() / total


@dataclass(frozen=True)
class ClassValue:
    """One class in one arm: mean with its bootstrap interval, spread, and counts by bin."""

    n: int
    mean: float
    low: float
    high: float
    sd: float
    counts: list[int]


@dataclass(frozen=True, eq=False)
class Bins:
    """Edges of bins, (bins + 1,), and the rounding of the projections between them."""

    edges: Tensor
    rounding: float


@dataclass(frozen=True)
class ArmValue:
    """One arm: its classes, and how far apart they are if there are two.

    ``edges`` are those of the bins, and ``rounding`` that of the projections.
    """

    edges: list[float]
    rounding: float
    classes: dict[str, ClassValue]
    auc: float | None
    d: float | None


@dataclass(frozen=True)
class HistogramValue:
    """``rows`` has the projections themselves, by arm and class."""

    arms: dict[str, ArmValue]
    rows: dict[str, dict[str, Rows]]


@evaluates(Projection)
def projection(here: Here[Projection], along: SubspaceValue) -> Projected:
    if along.rank == 0:
        raise RunFailure("the direction to project on is zero", "choose another direction")
    graph, operation = here.session.graph, here.operation
    run_key = operation.input("run")
    run = graph.operation(run_key)
    changed = bool(run.inputs_as("do"))
    key = run.input("base") if changed else run_key
    if changed:
        values = _edited(here, run, here.session.runs(key, here.backend))
    else:
        values = here.of_run(key)
    direction = along.direction
    projected = [value.cpu().double() @ direction for value in values]
    classes = [prompt.cls for prompt in graph.prompts_of(key)]
    return Projected(projected, classes, graph.pairs_of(key))


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
    word, session = here.word, here.session
    places = {p.role: session.graph.operation(p.key).at for p in here.operation.inputs}
    arms = {name: _by_class(word, here.values(name)) for name in places}
    made = {}
    for name, arm in arms.items():
        alike = [other for other in arms if places[other] == places[name]]
        made[name] = _arm(session, arm, _bins(session, word, [arms[other] for other in alike]))
    return HistogramValue(made, arms)


def _bins(session: Session, word: HistogramWord, arms: list[dict[str, Rows]]) -> Bins:
    """Those that arms at one place share: elsewhere activations have another size."""
    everything = torch.cat([rows.values for arm in arms for rows in arm.values()])
    low, high = float(everything.min()), float(everything.max())
    rounding = ROUNDING[session.loaded.dtype_name] * max(abs(low), abs(high))
    if low == high:  # all the same: a bin of width 1 around it
        low, high = low - 0.5, high + 0.5
    return Bins(torch.linspace(low, high, word.bins + 1, dtype=torch.float64), rounding)


@evaluates(HistogramNumber)
def histogram_number(here: Here[HistogramNumber], histogram: HistogramValue) -> float:
    """A number of an arm, with its draws; how many prompts there are has none."""
    word, session, arm = here.word, here.session, histogram.arms[here.word.arm]
    value = getattr(arm.classes[word.cls] if word.cls else arm, word.statistic)
    if value is None:
        why = f"{word.statistic} is not defined: the classes have no spread"
        return Drawn(float("nan"), withheld=why)
    if word.statistic == "n" or not session.loaded.spec.shapes.text:
        return float(value)
    rows = histogram.rows[word.arm]
    parts = [rows[word.cls]] if word.cls else list(rows.values())

    def make(over: Over) -> Draws:
        spread = Spread.widest(part.spread(session, over) for part in parts)
        if word.statistic == "auc":
            drawn = _auc_draws(session, parts[0], parts[1], arm.rounding, over)
        else:
            drawn = _statistic(word.statistic, [part.sums(session, over) for part in parts])
        return Draws(drawn, drawn, spread)

    return Drawn(float(value), make, frozenset(part.pairs.name for part in parts))


def _statistic(name: str, sums: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The mean or standard deviation of a class, or d of two, in every draw (r,)."""
    total, mean, squares = sums[0]
    if name == "mean":
        return mean
    if name == "sd":
        return (squares / (total - 1)).sqrt()
    other_total, other_mean, other_squares = sums[1]
    variance = (squares + other_squares) / (total + other_total - 2)
    return (mean - other_mean) / variance.sqrt()


def _auc_draws(session: Session, first: Rows, second: Rows, rounding: float, over: Over) -> Tensor:
    """AUC in every draw (r,): the share of weighted comparisons that the first class wins."""
    order = second.values.argsort()
    ordered = second.values[order]
    below = torch.searchsorted(ordered, first.values - rounding)
    up_to = torch.searchsorted(ordered, first.values + rounding, right=True)
    parts = []
    both = zip(first.weights(session, over), second.weights(session, over), strict=True)
    for mine, theirs in both:
        zero = torch.zeros(len(theirs), 1, dtype=torch.float64)
        passed = torch.cat([zero, theirs[:, order].cumsum(1)], 1)
        won = (mine * (passed[:, below] + passed[:, up_to])).sum(1)
        parts.append(won / (2 * mine.sum(1) * theirs.sum(1)))
    return torch.cat(parts)


def _by_class(word: HistogramWord, projected: list[Projected]) -> dict[str, Rows]:
    """All projections of each class in one arm."""
    if word.by != "class":
        return {name: part.rows() for name, part in zip(word.classes, projected, strict=True)}
    (only,) = projected
    return {name: only.rows(name) for name in word.classes}


def _arm(session: Session, classes: dict[str, Rows], bins: Bins) -> ArmValue:
    values = [rows.values for rows in classes.values()]
    separation = separate(values[0], values[1], bins.rounding) if len(values) == 2 else (None, None)
    counted = {name: _class(session, rows, bins.edges) for name, rows in classes.items()}
    return ArmValue(bins.edges.tolist(), bins.rounding, counted, *separation)


def _class(session: Session, rows: Rows, edges: Tensor) -> ClassValue:
    values, spread = rows.values, rows.spread(session, "pairs")
    mean = low = high = float(values.mean())
    if spread.n > 1:
        _, means, _ = rows.sums(session, "pairs")
        low, high = ends(means, mean, spread)
    inner = torch.bucketize(values, edges[1:-1], right=True)
    counts = torch.bincount(inner, minlength=len(edges) - 1)
    sd = float(values.std()) if len(values) > 1 else 0.0
    return ClassValue(len(values), mean, low, high, sd, counts.tolist())


def separate(first: Tensor, second: Tensor, rounding: float = 0.0) -> tuple[float, float | None]:
    """AUC and Cohen's d of two classes; no d where neither class has any spread."""
    n, m = len(first), len(second)
    squares = sum(float((v - v.mean()).square().sum()) for v in (first, second))
    spread = math.sqrt(squares / (n + m - 2)) if n + m > 2 else 0.0
    return auc(first, second, rounding), float(
        first.mean() - second.mean()
    ) / spread if spread > 0 else None
