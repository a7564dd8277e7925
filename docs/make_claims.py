"""How often intervals cover, by simulation: `python docs/make_claims.py` writes the tables of
docs/claims.md anew, with 2,000 runs a number, 1,000 of many looks (about ten minutes). Followed by
the beginnings of rows' names, it writes these rows of the first table alone.

Every run draws new numbers by pair from a known distribution, and asks whether the interval of the
estimate holds the true value. The intervals are the engine's. All runs of a setting share the draws
of the bootstrap, as all numbers on the same pairs do.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from causaldsl.check.units import effective, units_of
from causaldsl.engine.bootstrap import Bootstrap, Over, Spread, all_ends
from causaldsl.engine.drawn import Drawn, Draws, combined, extreme, minus, simultaneous
from causaldsl.engine.metrics import exact
from causaldsl.engine.shares import of_share

PAGE = Path(__file__).parent / "claims.md"
SIZES = (8, 12, 20, 40, 150)
RUNS, LOOKS = 2000, 1000
CELLS, FACTORS = 270, 6


def bootstrap(n: int, templates: int = 1) -> Bootstrap:
    """Draws of n pairs, from so many templates in turn."""
    return from_templates([i % templates for i in range(n)])


def from_templates(templates: list[int], seed: int = 1) -> Bootstrap:
    """Draws of pairs, of which each is from the template of this number."""
    units = units_of([[i] for i in range(len(templates))], [f"template {t}" for t in templates])
    return Bootstrap(torch.Generator().manual_seed(seed), 2000, units)


def covered(low: Tensor, high: Tensor, true: float) -> float:
    return float(((low <= true) & (high >= true)).double().mean())


def means(n: int, runs: int, draw: Callable[[Tensor], Tensor], templates: int = 1) -> float:
    """Coverage of the mean of n numbers with mean 0 that are made from standard normal ones."""
    made, numbers = bootstrap(n, templates), draw(_normal(n, runs, seed=n))
    found = made.of_columns(numbers)
    return covered(*all_ends(found, numbers.mean(0), made.spread()), 0.0)


def uneven(n: int, runs: int) -> float:
    """Coverage of the mean of n normal numbers, half from one template, two from each other one."""
    made, numbers = (
        from_templates([max(0, i - n // 2 + 2) // 2 for i in range(n)]),
        _normal(n, runs),
    )
    return covered(*all_ends(made.of_columns(numbers), numbers.mean(0), made.spread()), 0.0)


def two_sets(n: int, runs: int) -> float:
    """Coverage of the difference of means over n pairs from one template and 2 n in twos."""
    left, right = from_templates([0] * n), from_templates([i // 2 for i in range(2 * n)], seed=2)
    noise = _normal(3 * n, runs, seed=n)
    draws = left.of_columns(noise[:n]) - right.of_columns(noise[n:])
    found = noise[:n].mean(0) - noise[n:].mean(0)
    return covered(*all_ends(draws, found, Spread.widest([left.spread(), right.spread()])), 0.0)


def exponential(normal: Tensor) -> Tensor:
    """Exponential numbers less their mean, by their quantiles."""
    return -torch.log(torch.special.ndtr(-normal)) - 1


def fldd(n: int, runs: int) -> float:
    """Coverage of 1 - mean(patched) / mean(clean), clean 5 +/- 2, patched 0.4 clean +/- 1."""
    made, noise = bootstrap(n), _normal(n, 2 * runs, seed=n)
    clean = 5 + 2 * noise[:, :runs]
    patched = 0.4 * clean + noise[:, runs:]
    draws = 1 - made.of_columns(patched) / made.of_columns(clean)
    found = 1 - patched.mean(0) / clean.mean(0)
    return covered(*all_ends(draws, found, made.spread()), 0.6)


def rates(n: int, runs: int, p: float) -> float:
    """Coverage of a share."""
    shares = (
        _normal(n, runs, seed=n) < float(torch.special.ndtri(torch.tensor(p).double()))
    ).double()
    return covered(*exact(shares.mean(0), n), p)


SIZED: dict[str, Callable[[Tensor], Tensor]] = {
    "5": lambda u: 0 * u + 5,
    "1 to 10": lambda u: 1 + (10 * u).floor(),
    "5 on average, geometric": lambda u: 1 + (torch.log(u) / math.log(0.8)).floor(),
    "1 to 200, 1/u": lambda u: (1 / u).floor().clamp_max(200),
    "1 or, one time in ten, 40": lambda u: torch.where(u < 0.1, 40.0, 1.0).double(),
}
"""Pairs in a unit, from numbers u that are uniform between 0 and 1."""


def rates_of_sized(n: int, runs: int, p: float, sized: str, alike: bool = True) -> float:
    """Coverage of the share of pairs in n units of such sizes, each drawn anew in every run.

    The pairs of a unit are ``alike``, or as independent as those of two units.
    """
    generator = torch.Generator().manual_seed(3000 + n)
    u = torch.rand(2, runs, n, generator=generator, dtype=torch.float64).clamp_min(1e-9)
    sizes = SIZED[sized](u[0])
    counted = sizes * (u[1] < p)
    if not alike:
        counted = torch.binomial(sizes, torch.full_like(sizes, p), generator=generator)
    shares = counted.sum(1) / sizes.sum(1)
    each = zip(shares, sizes.long().tolist(), strict=True)
    ends = [torch.cat(exact(share[None], effective(pairs))) for share, pairs in each]
    low, high = torch.stack(ends, 1)
    return covered(low, high, p)


def differences(n: int, runs: int) -> float:
    """Coverage of the difference of two arms on the same pairs, which share most of their noise."""
    made, noise = bootstrap(n), _normal(n, 3 * runs, seed=n)
    left, right = noise[:, :runs] + 0.5 * noise[:, runs:-runs], noise[:, :runs] + noise[:, -runs:]
    draws, found = made.of_columns(left), left.mean(0)
    other, beside = made.of_columns(right), right.mean(0)
    return covered(*all_ends(draws - other, found - beside, made.spread()), 0.0)


def two_rates(n: int, runs: int, cells: tuple[float, float, float]) -> float:
    """Coverage of the difference of the rates of two arms on the same n units, where these shares
    of units count in the first arm alone, in the second alone, and in both."""
    generator = torch.Generator().manual_seed(2000 + n)
    shares = torch.tensor([*cells, 1 - sum(cells)], dtype=torch.float64)
    drawn = torch.multinomial(shares.expand(runs, -1), n, replacement=True, generator=generator)
    found = Counter(tuple(torch.bincount(row, minlength=4).tolist()) for row in drawn)
    true = cells[0] - cells[1]
    return sum(runs for counts, runs in found.items() if holds(true, *counts)) / runs


def holds(true: float, first: int, second: int, both: int, neither: int) -> bool:
    """Whether the interval of the difference of two rates contains the true one, where so many
    units count in the first arm alone, in the second alone, in both and in neither."""
    low, high = interval_of_rates(first, second, both, neither)
    return low <= true <= high


of_rates = cache(bootstrap)


@cache
def interval_of_rates(first: int, second: int, both: int, neither: int) -> tuple[float, float]:
    made = of_rates(first + second + both + neither)
    left = [1.0] * first + [0.0] * second + [1.0] * both + [0.0] * neither
    right = [0.0] * first + [1.0] * second + [1.0] * both + [0.0] * neither
    drawn = [rate(made, torch.tensor(column).double()) for column in (left, right)]
    difference = combined(float(drawn[0]) - float(drawn[1]), drawn, minus)
    assert isinstance(difference, Drawn)
    return difference.interval()


def rate(made: Bootstrap, column: Tensor) -> Drawn:
    """The share of a column (n,) of zeros and ones, as the engine draws it."""
    means = made.of_columns(column[:, None], smooth=True)[:, 0]
    share, n = float(column.mean()), made.units.count
    return Drawn(share, lambda over: of_share(share, means, made.levels(), made.spread(), n))


def over_templates(templates: int, runs: int, between: float, each: int = 10) -> float:
    """Coverage over templates whose means vary ``between`` times as much as pairs within them."""
    n = templates * each
    made, noise = bootstrap(n, templates), _normal(n + templates, runs, seed=n)
    effects = between**0.5 * noise[n:]
    numbers = noise[:n] + effects[torch.arange(n) % templates]
    over: Over = "templates"
    ends = all_ends(made.of_columns(numbers, over), numbers.mean(0), made.spread(over))
    return covered(*ends, 0.0)


def family(n: int, runs: int, cells: int = CELLS) -> float:
    """How often one of so many cells without effect is said to have one.

    The cells share noise, as heads of a model do on the same prompts: six factors with random
    loadings, besides noise of their own.
    """
    made, generator, wrong = bootstrap(n), torch.Generator().manual_seed(n), 0
    for _ in range(runs):
        shared = _normal(n, FACTORS, generator=generator)
        loadings = 0.5 * _normal(FACTORS, cells, generator=generator)
        numbers = shared @ loadings + _normal(n, cells, generator=generator)
        found = numbers.mean(0)
        half, _ = simultaneous(found, made.of_columns(numbers), made.spread())
        wrong += bool((found.abs() > half).any())
    return wrong / runs


def argmax(n: int, runs: int, cells: int = 12) -> float:
    """How often `argmax is` decides between two cells that are equal, of which the one is named
    that came out larger; the other cells are smaller by two standard deviations."""
    made, generator, wrong = bootstrap(n), torch.Generator().manual_seed(n), 0
    for _ in range(runs):
        numbers = _normal(n, cells, generator=generator)
        numbers[:, 2:] -= 2
        draws, found = made.of_columns(numbers), numbers.mean(0)
        drawn = [_drawn(made, draws[:, c], float(found[c])) for c in range(cells)]
        named = 0 if found[0] > found[1] else 1
        others = [
            combined(float(drawn[named]) - float(other), [drawn[named], other], minus)
            for i, other in enumerate(drawn)
            if i != named
        ]
        lowest = min(one.interval()[0] for one in others if isinstance(one, Drawn))
        worst = extreme(others, -1)
        assert isinstance(worst, Drawn)
        wrong += lowest > 0 or worst.interval()[1] < 0
    return wrong / runs


def _drawn(made: Bootstrap, draws: Tensor, found: float) -> Drawn:
    return Drawn(found, lambda over: Draws(draws, draws, made.spread(over)))


def _normal(
    rows: int, columns: int, seed: int = 0, generator: torch.Generator | None = None
) -> Tensor:
    generator = generator or torch.Generator().manual_seed(1000 + seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def coverage(runs: int = RUNS, only: tuple[str, ...] = ("",)) -> dict[str, list[float]]:
    """Coverage by what is estimated, at each of the sizes, of the rows that begin so."""
    kinds: dict[str, Callable[[int], float]] = {
        "mean of normal numbers": lambda n: means(n, runs, lambda x: x),
        "the same, pairs from 3 templates": lambda n: means(n, runs, lambda x: x, templates=3),
        "the same, half from one template, two from each other": lambda n: uneven(n, runs),
        "mean of exponential numbers": lambda n: means(n, runs, exponential),
        "fldd, clean 5 ± 2": lambda n: fldd(n, runs),
        "rate of 5%": lambda n: rates(n, runs, 0.05),
        "rate of 50%": lambda n: rates(n, runs, 0.5),
        "rate of 5%, units of 1 or, one time in ten, 40 pairs": lambda n: rates_of_sized(
            n, runs, 0.05, "1 or, one time in ten, 40"
        ),
        "rate of 50%, units of 1 or, one time in ten, 40 pairs": lambda n: rates_of_sized(
            n, runs, 0.5, "1 or, one time in ten, 40"
        ),
        "rates of two arms, 20% and 0% in one alone": lambda n: two_rates(n, runs, (0.2, 0, 0.1)),
        "rates of two arms, 2% in each alone": lambda n: two_rates(n, runs, (0.02, 0.02, 0.4)),
        "rates of two arms, 40% in each alone": lambda n: two_rates(n, runs, (0.4, 0.4, 0.1)),
        "difference of two arms": lambda n: differences(n, runs),
        "difference of two sets of pairs, one from templates of two": lambda n: two_sets(n, runs),
    }
    return {name: [kind(n) for n in SIZES] for name, kind in kinds.items() if name.startswith(only)}


def templates(runs: int = RUNS) -> dict[str, list[float]]:
    """Coverage over templates, by their number, for variances between them of a tenth, a half and
    all of that within."""
    return {
        f"{count} templates": [over_templates(count, runs, share) for share in (0.1, 0.5, 1.0)]
        for count in (3, 5, 8, 12)
    }


def errors(runs: int = LOOKS) -> dict[str, list[float]]:
    """Shares of runs with a wrong finding, at 20, 60 and 150 pairs."""
    return {
        f"one of {CELLS} cells without effect marked": [family(n, runs) for n in (20, 60, 150)],
        "`argmax is` decided between two equal cells": [argmax(n, runs) for n in (20, 60, 150)],
    }


def table(head: list[str], rows: dict[str, list[float]]) -> str:
    lines = [" | ".join(["", *head]), "|".join(["---"] * (len(head) + 1)), *map(line, rows.items())]
    return "\n".join(f"| {line} |" for line in lines).replace("|  |", "| |")


def line(row: tuple[str, list[float]]) -> str:
    return " | ".join([row[0], *(f"{value:.3f}" for value in row[1])])


def write(name: str, rows: str) -> None:
    """Put a table between its marks in the page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    text = PAGE.read_text("utf-8")
    before, rest = text.split(begin)
    PAGE.write_text(f"{before}{begin}{rows}\n{end}{rest.split(end)[1]}", "utf-8")


def write_rows(rows: dict[str, list[float]]) -> None:
    """Put some rows into the page in the place of those with their names."""
    lines = PAGE.read_text("utf-8").split("\n")
    for row in rows.items():
        (at,) = [i for i, known in enumerate(lines) if known.startswith(f"| {row[0]} |")]
        lines[at] = f"| {line(row)} |"
    PAGE.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__" and sys.argv[1:]:
    write_rows(coverage(only=tuple(sys.argv[1:])))
elif __name__ == "__main__":
    write("coverage", table([f"n = {n}" for n in SIZES], coverage()))
    write("templates", table(["a tenth", "a half", "as much"], templates()))
    write("errors", table(["n = 20", "n = 60", "n = 150"], errors()))
