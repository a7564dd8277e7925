"""How many units and templates each claim of a run needs, from the run's own values.

A claim's difference D is a smooth function of means, so leaving out one unit u of n at a time gives
its pseudo-values (Tukey's jackknife)::

    p_u = n D - (n - 1) D_without_u

With s^2 their variance within templates and tau^2 that between the templates' means beyond what s^2
explains (one-way analysis of variance), the variance of D over new pairs from the same templates is
s^2 / n, over new templates too tau^2 / T + s^2 / n. A claim at level 1 - a is decided with
probability p if (t_{1-a/2} + t_p)^2 var(D) <= D^2. With the largest or smallest of several,
t_{1-a/2} grows by as much as its interval in the run was wider than that of one number. The
estimate is taken for the truth, so this says what an effect of that size needs; where it was picked
for its size it is too hopeful.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student
from torch import Tensor

from causaldsl.check.checked import CheckedProgram, Claim
from causaldsl.check.values import Applied
from causaldsl.plan.settings import Progress
from causaldsl.results.records import Expectation
from causaldsl.results.values import column_of, read_values
from causaldsl.studies.runs import compiled_again, finite, read_run
from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.numbers import (
    FEWEST_TEMPLATES,
    Abs,
    ArgmaxIs,
    Arithmetic,
    Average,
    Compare,
    Constant,
    Largest,
    Result,
    Smallest,
)

_MOST = 10**7
_WORKED: dict[type[Word], Callable[[list[Tensor]], Tensor]] = {
    Abs: lambda of: of[0].abs(),
    Largest: lambda of: torch.stack(of).amax(0),
    Smallest: lambda of: torch.stack(of).amin(0),
    Average: lambda of: torch.stack(of).mean(0),
}
_ARITHMETIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
}


@dataclass(frozen=True)
class Needed:
    """What one claim needs, beside what it had; None with a reason where that can't be said."""

    claim: str
    verdict: str
    difference: float | None = None
    units: int | None = None
    templates: int | None = None
    between: float | None = None
    """The standard deviation between templates, in the unit of the difference."""
    within: float | None = None
    needs_units: int | None = None
    """From the same templates, each with its share."""
    needs_templates: int | None = None
    """Each with as many units as now, for a claim over templates; None where there are fewer than
    two, or the pairs have none."""
    why: str = ""


@dataclass(frozen=True)
class Left:
    """A number, and what it is without each unit, by the set of pairs that the unit is of."""

    value: Tensor
    without: dict[str, Tensor]


class Unplanned(Exception):
    """A number that is no function of means over pairs."""


def power(
    folder: Path, wanted: float = 0.8, model: str | None = None, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """What each claim of a run needs to be decided with probability ``wanted``.

    Raises:
        Mistake: if the run can't be read.
    """
    kept = read_run(folder)
    compiled, _ = compiled_again(folder, model, progress)
    reader = _Reader(compiled.program, read_values(folder))
    claims = zip(compiled.program.claims, kept.results.expectations, strict=True)
    return [finite(asdict(_needed(reader, claim, found, wanted))) for claim, found in claims]


def _needed(reader: _Reader, claim: Claim, found: Expectation, wanted: float) -> Needed:
    try:
        difference = reader.difference(claim.condition, found)
    except Unplanned as reason:
        return Needed(found.text, found.verdict, why=str(reason))
    d = float(difference.value)
    if not difference.without:
        return Needed(found.text, found.verdict, d, why="exact numbers need no pairs")
    sets = [reader.spread(name, d, left) for name, left in difference.without.items()]
    n, templates = min(s.n for s in sets), min(s.templates for s in sets)
    within = math.sqrt(sum(s.within for s in sets))
    between = math.sqrt(sum(s.between for s in sets))
    about = (found.text, found.verdict, d, n, templates or None, between, within)
    if n < 3 or d == 0 or not math.isfinite(within):
        return Needed(*about, why="there is no effect, or are too few units, to plan from")
    if within == 0:
        return Needed(*about, why="all units gave the same, so there is no spread to plan from")
    variance = sum(s.within / s.n for s in sets)
    of_many = any(isinstance(part.word, Largest | Smallest) for part in claim.condition.walk())
    wider = _wider(found, variance, n) if of_many else 1.0
    smallest = partial(_smallest, a=1 - found.level, wanted=wanted, wider=wider)
    units = smallest(lambda k: variance * n / k / d**2, fewest=2)
    per_template = sum(s.between + s.within * s.templates / s.n for s in sets if s.templates)
    needs = None
    if templates > 1:
        needs = smallest(lambda k: per_template / k / d**2, fewest=FEWEST_TEMPLATES)
    return Needed(*about, units, needs)


def _wider(found: Expectation, variance: float, n: int) -> float:
    """By how much the claim's interval in the run reaches further to 0 than that of one number."""
    if found.difference is None or found.low is None or found.high is None:
        return 1.0
    half = found.difference - found.low if found.difference > 0 else found.high - found.difference
    alone = float(student.ppf(0.5 + found.level / 2, n - 1)) * math.sqrt(variance)
    return max(1.0, half / alone)


def _smallest(
    relative: Callable[[int], float], fewest: int, a: float, wanted: float, wider: float
) -> int | None:
    """The smallest k at which var(D) / D^2, ``relative``, is small enough; None if none is."""

    def enough(k: int) -> bool:
        t = wider * student.ppf(1 - a / 2, k - 1) + student.ppf(wanted, k - 1)
        return bool(t * t * relative(k) <= 1)

    high = max(2, fewest)
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = max(2, fewest)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


@dataclass(frozen=True)
class _Spread:
    """Variances of pseudo-values within and between the templates of n units."""

    n: int
    templates: int
    within: float
    between: float


class _Reader:
    """Works out numbers of a program from its values by pair."""

    def __init__(self, program: CheckedProgram, table: Any):
        self.program, self.table = program, table
        self._units: dict[str, tuple[Tensor, list[str | None]]] = {}

    def difference(self, condition: Applied, found: Expectation) -> Left:
        """Left minus right of a claim; for the largest of several, that to the closest other."""
        word = condition.word
        if isinstance(word, Compare):
            left, right = (
                self._side(condition.operand(side), float(getattr(found, side)))
                for side in ("left", "right")
            )
            return _joined([left, right], lambda of: of[0] - of[1])
        if isinstance(word, ArgmaxIs):
            cell, others = condition.operand("cell"), condition.operand("others")
            assert isinstance(cell, Applied)
            assert isinstance(others, tuple)
            numbers = [self.number(cell), *map(self.number, others)]
            closest = max(numbers[1:], key=lambda number: float(number.value))
            return _joined([numbers[0], closest], lambda of: of[0] - of[1])
        raise Unplanned("an audit's verdict follows from its rule, not from an interval")

    def _side(self, applied: Any, measured: float) -> Left:
        """A side of a comparison; one that is measured on no pairs is as it was found."""
        if any(isinstance(part.word, Result) for part in applied.walk()):
            return self.number(applied)
        if any(part.word.estimated for part in applied.walk()):
            raise Unplanned("only numbers of measures and sweeps can be planned for")
        return Left(torch.tensor(measured, dtype=torch.float64), {})

    def number(self, applied: Applied) -> Left:
        word = applied.word
        if isinstance(word, Constant):
            return Left(torch.tensor(word.value, dtype=torch.float64), {})
        if isinstance(word, Result):
            return self._result(str(applied.operand("measure")), word)
        operands = [
            self.number(part)
            for _, value in applied.operands
            for part in (value if isinstance(value, tuple) else (value,))
            if isinstance(part, Applied)
        ]
        if isinstance(word, Arithmetic):
            operation = _ARITHMETIC[word.operator]
            return _joined(operands, lambda of: operation(of[0], of[1]))
        if type(word) in _WORKED:
            return _joined(operands, _WORKED[type(word)])
        raise Unplanned(f"`{word.word}` is no function of means over pairs")

    def _result(self, name: str, word: Result) -> Left:
        """A metric of an arm, from the columns that its means are of."""
        measurement = self.program.measurements[name]
        pairs, metric = measurement.pairs.name, self.program.words.metrics[word.metric]
        runs = {run.name: run for run in measurement.runs}

        def column(arm: str) -> dict[str, Tensor]:
            axes = [axis.name for axis in measurement.axes]
            cell = dict(zip(axes, runs[arm].coordinates, strict=False))
            short = arm.partition("[")[0] if cell else arm
            found = column_of(self.table, name, short, cell)
            self._units.setdefault(pairs, (torch.tensor(found.units), found.templates))
            columns = {m: torch.tensor(v) for m, v in found.values.items()}
            return {"logit_diff": columns["output"], **columns} if "output" in columns else columns

        columns = metric.means(column(word.arm), column("clean"))
        units, _ = self._units[pairs]
        means = [_without_each(values.double(), units) for values in columns]
        return Left(
            metric.value(*(values.double().mean() for values in columns)),
            {pairs: metric.value(*means)},
        )

    def spread(self, pairs: str, value: float, without: Tensor) -> _Spread:
        """How the pseudo-values of a set's units vary within and between its templates."""
        units, texts = self._units[pairs]
        n = len(without)
        pseudo = n * value - (n - 1) * without
        of_unit: dict[int, str | None] = {}
        for unit, text in zip(units.tolist(), texts, strict=True):
            of_unit.setdefault(unit, text)
        groups: dict[str | None, list[int]] = {}
        for unit in range(n):
            groups.setdefault(of_unit[unit], []).append(unit)
        parts = [pseudo[rows] for rows in groups.values()]
        free = n - len(parts)
        if free < 1:
            return _Spread(n, 0, float(pseudo.var()) if n > 1 else math.nan, 0.0)
        within = sum(float((part - part.mean()).square().sum()) for part in parts) / free
        between = 0.0
        if len(parts) > 1:
            sizes = [len(part) for part in parts]
            mean = float(pseudo.mean())
            squares = sum(len(part) * (float(part.mean()) - mean) ** 2 for part in parts)
            usual = (n - sum(size**2 for size in sizes) / n) / (len(parts) - 1)
            between = max(0.0, (squares / (len(parts) - 1) - within) / usual)
        return _Spread(n, 0 if None in groups else len(parts), within, between)


def _without_each(values: Tensor, units: Tensor) -> Tensor:
    """Means (u,) of values by pair (n,) without each unit."""
    count = int(units.max()) + 1
    sums = torch.zeros(count, dtype=torch.float64).scatter_add_(0, units.long(), values)
    sizes = torch.bincount(units.long(), minlength=count)
    return (values.sum() - sums) / (len(values) - sizes)


def _joined(operands: list[Left], function: Callable[[list[Tensor]], Tensor]) -> Left:
    names = dict.fromkeys(name for operand in operands for name in operand.without)
    without = {}
    for name in names:
        size = next(len(o.without[name]) for o in operands if name in o.without)
        parts = [o.without[name] if name in o.without else o.value.expand(size) for o in operands]
        without[name] = function(parts)
    return Left(function([operand.value for operand in operands]), without)
