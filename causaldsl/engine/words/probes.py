"""Probes: what a linear model reads off activations, on prompts that it was not trained on.

Rows are the positions of the prompts; all rows of a prompt are in training or all are held out.
Inputs X (rows, d) are standardised with the training rows' means and standard deviations::

    ridge_r2            y = <a, v> / |v| for the activation a at the other site;
                        R2 = 1 - sum (y - y_hat)^2 / sum (y - mean y)^2 over the held-out rows
    ridge_mse           mean (y - y_hat)^2 over the held-out rows / variance of y in training
    ridge_p             share of orders of the held-out prompts with as high an R2
    logistic_accuracy   every prompt runs twice, with a + s v / |v| and with a - s v / |v|;
                        share of held-out rows of which the sign is told

Their intervals are of draws of the held-out units for the probe as it was trained; ``ridge_p`` is
exact. A chance R2 is 0 (and can be negative), a chance accuracy 1/2. That a linear model can read
something off says nothing of whether the network does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causaldsl.check.units import effective
from causaldsl.diagnostics import RunFailure
from causaldsl.engine.bootstrap import Bootstrap, Over
from causaldsl.engine.drawn import Drawn, Draws
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.ridge import Standardised
from causaldsl.engine.shares import of_share
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.graph.operations import SiteAt
from causaldsl.vocabulary.probes import LogisticAccuracy, Probe, RidgeMse, RidgeP, RidgeR2

_STEPS = 5000
"""Iterations of logistic regression at most; a note says if they were not enough."""


@dataclass(frozen=True)
class _Fit:
    """The targets (rows, d) of one ridge regression, and what it says of the held-out rows.

    ``lengths`` are how many of these are of each prompt, ``chosen`` the prompts to train and test.
    """

    train: np.ndarray
    test: np.ndarray
    predicted: np.ndarray
    lengths: list[int]
    chosen: tuple[list[int], list[int]]
    penalty: float

    def r2(self, test: np.ndarray) -> float:
        """Mean over the targets, for held-out rows in this order."""
        return float(self.r2_in(test, _evenly(test)))

    def r2_in(self, test: np.ndarray, weights: Tensor) -> Tensor:
        """The same (r,) with weights (r, rows) of the rows."""
        y = torch.from_numpy(test - test.mean(0))
        total = weights.sum(1, keepdim=True)
        spread = weights @ y.square() - (weights @ y).square() / total
        return (1 - weights @ self.errors(test) / spread).mean(1)

    def errors(self, test: np.ndarray) -> Tensor:
        """Squared errors (rows, d)."""
        return torch.from_numpy((test - self.predicted) ** 2)


@evaluates(RidgeR2)
def ridge_r2(here: Here[RidgeR2], target: SubspaceValue) -> float:
    fit = _fit(here, target)
    return _score(here, fit, lambda weights: fit.r2_in(fit.test, weights))


@evaluates(RidgeMse)
def ridge_mse(here: Here[RidgeMse], target: SubspaceValue) -> float:
    fit = _fit(here, target)
    relative = (fit.errors(fit.test) / torch.from_numpy(fit.train.var(0))).mean(1)
    return _score(here, fit, lambda weights: weights @ relative / weights.sum(1))


@evaluates(RidgeP)
def ridge_p(here: Here[RidgeP], target: SubspaceValue) -> float:
    fit = _fit(here, target)
    found, count = fit.r2(fit.test), here.word.permutations
    generator = here.generator(here.word.seed, "ridge permutations")
    prompts = np.split(fit.test, np.cumsum(fit.lengths)[:-1])
    # Whole prompts change places: the positions of one prompt are no independent rows.
    orders = [torch.randperm(len(prompts), generator=generator) for _ in range(count)]
    mixed = (np.concatenate([prompts[i] for i in order.tolist()]) for order in orders)
    chance = (1 + sum(fit.r2(test) >= found for test in mixed)) / (1 + count)
    _remember(here, chance, fit.chosen, fit.train, fit.test, penalty=fit.penalty)
    return chance


def _score(here: Here[Any], fit: _Fit, of: Callable[[Tensor], Tensor]) -> Drawn:
    """A score of the fit with its draws; ``of`` gives it for weights (r, rows) of held-out rows."""
    score = float(of(_evenly(fit.test)))
    _remember(here, score, fit.chosen, fit.train, fit.test, penalty=fit.penalty)
    return drawn_of(here, score, fit.chosen[1], fit.lengths, of)


def _evenly(rows: np.ndarray) -> Tensor:
    """The weights (1, rows) of a mean."""
    return torch.ones(1, len(rows), dtype=torch.float64)


def _fit(here: Here[Any], target: SubspaceValue) -> _Fit:
    at, basis = here.operation.place("at"), _basis(target, "target")
    targets = [value @ basis for value in _clean(here, at)]
    chosen = _split(here)
    y_train, y_test = (_rows(targets, part) for part in chosen)
    if len(y_test) < 2 or not (_vary(y_test) and _vary(y_train)):
        raise RunFailure(
            f"the activations at {at} don't vary along the target, so there is no R2",
            "use more or other prompts, or another position",
        )
    inputs = _decomposed(here, chosen)
    predicted, alpha = inputs.predict(y_train, here.word.alphas)
    lengths = [len(targets[i]) for i in chosen[1]]
    return _Fit(y_train, y_test, predicted, lengths, chosen, alpha)


def _decomposed(here: Here[Any], chosen: tuple[list[int], list[int]]) -> Standardised:
    """The inputs of the last regression, if it had the same ones: a table asks for many targets."""
    key = (here.operation.input("base"), str(here.at), *map(tuple, chosen))
    kept: dict[Any, Standardised] = here.session.cached("ridge inputs", dict)
    if key not in kept:
        kept.clear()
        inputs = _clean(here, here.at)
        kept[key] = Standardised(*(torch.from_numpy(_rows(inputs, part)) for part in chosen))
    return kept[key]


@evaluates(LogisticAccuracy)
def logistic_accuracy(here: Here[LogisticAccuracy], direction: SubspaceValue) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    word, step = here.word, here.word.scale
    if word.unit == "mean_norm":
        clean = torch.cat(_clean(here, here.operation.place("at")))
        step *= float(clean.norm(dim=-1).mean())
    vector = step * _basis(direction, "direction")[:, 0]
    plus, minus = (here.edited(sign * vector, "at", "site") for sign in (1, -1))
    chosen = _split(here)
    both = [(_rows(plus, part), _rows(minus, part)) for part in chosen]
    if word.signs == "both":
        train, test = (np.concatenate(rows) for rows in both)
        signs = [np.repeat([1, 0], len(rows) // 2) for rows in (train, test)]
    else:
        generator = here.generator(word.seed, "probe signs")
        signs = [torch.randint(2, (len(p),), generator=generator).numpy() for p, _ in both]
        train, test = (
            np.where(sign[:, None] == 1, *rows) for sign, rows in zip(signs, both, strict=True)
        )
        if len(set(signs[0])) < 2:
            raise RunFailure("too few rows for a probe: all have the same sign", "use more prompts")
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=1 / word.penalty, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(scaler.transform(train), signs[0])
        except ConvergenceWarning:
            here.note(
                f"logistic regression did not converge in {_STEPS} steps "
                f"(scale {word.scale:g}, {here.at}); a larger `penalty` helps"
            )
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaler.transform(train), signs[0])
    right = torch.from_numpy(model.predict(scaler.transform(test)) == signs[1]).double()
    score = float(right.mean())
    _remember(here, score, chosen, train, test, penalty=word.penalty, step=step)
    lengths = [len(plus[i]) for i in chosen[1]]
    if word.signs == "both":
        right = right.reshape(2, -1).mean(0)
    return drawn_of(here, score, chosen[1], lengths, lambda w: w @ right / w.sum(1), rate=True)


def drawn_of(
    here: Here[Any],
    score: float,
    held_out: list[int],
    lengths: list[int],
    sample: Callable[[Tensor], Tensor],
    rate: bool = False,
) -> Drawn:
    """A score with its draws: of the held-out prompts' units, for the probe as it was trained.

    ``sample`` gives it for weights (r, rows) of the rows, of which each prompt has so many.
    """
    pairs = here.pairs
    some = replace(pairs, pairs=tuple(pairs.pairs[row] for row in held_out))
    generator = here.generator(0, "bootstrap", some.digest)
    made = Bootstrap(generator, here.session.settings.resamples, some.units, pairs.name)
    of_prompt = torch.arange(len(held_out)).repeat_interleave(torch.tensor(lengths))
    rows = torch.tensor(some.units.of_pair)[of_prompt].bincount(minlength=some.units.count)
    independent = effective(rows.tolist())

    def make(over: Over) -> Draws:
        parts = made.weights(over, smooth=rate)
        drawn = torch.cat([sample(weights[:, of_prompt]) for weights in parts])
        spread = made.spread(over)
        if rate:
            return of_share(score, drawn, made.levels(), spread, min(spread.n, independent))
        return Draws(drawn, drawn, spread)

    return Drawn(score, make, frozenset([pairs.name]))


def _basis(value: SubspaceValue, role: str) -> Tensor:
    if value.rank == 0:
        raise RunFailure(f"the {role} of a probe is zero", "choose another direction")
    return value.basis


def _clean(here: Here[Any], at: SiteAt) -> list[Tensor]:
    """The bases' activations (k, d) at a site, in double precision."""
    return [value.cpu().double() for value in here.activations("base", at)]


def _split(here: Here[Any]) -> tuple[list[int], list[int]]:
    """Rows of the prompts to train on and to test on; copies of one prompt stay together."""
    word: Probe = here.word
    copies: dict[tuple[float, ...], list[int]] = {}
    for row, prompt in enumerate(here.pairs.side("base")):
        copies.setdefault(prompt.ids, []).append(row)
    n = len(copies)
    held_out = round(word.held_out * n)
    if held_out < 1 or n - held_out < 2:
        raise RunFailure(f"{n} different prompts are too few for a probe", "use more prompts")
    generator = here.generator(word.seed, "probe split")
    distinct = list(copies.values())
    order = [distinct[i] for i in torch.randperm(n, generator=generator).tolist()]
    parts = (order[held_out:], order[:held_out])
    train, test = (sorted(row for rows in part for row in rows) for part in parts)
    return train, test


def _vary(values: np.ndarray) -> bool:
    """Whether every column (rows, d) differs between rows by more than rounding."""
    size = np.abs(values).max(0)
    return bool((np.ptp(values, 0) > 1e-9 * size).all())


def _rows(values: list[Tensor], prompts: list[int]) -> np.ndarray:
    """All rows (positions, d) of some prompts."""
    return torch.cat([values[i] for i in prompts]).numpy()


def _remember(
    here: Here[Any],
    score: float,
    chosen: tuple[list[int], list[int]],
    train: np.ndarray,
    test: np.ndarray,
    **details: float,
) -> None:
    here.session.probes[here.key] = {
        "score": score,
        "made": here.operation.label,
        "prompts_train": len(chosen[0]),
        "prompts_test": len(chosen[1]),
        "n_train": len(train),
        "n_test": len(test),
        **details,
    }
