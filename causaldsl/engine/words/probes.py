"""Probes: what a linear model reads off activations, on prompts that it was not trained on.

Rows are the positions of the prompts; all rows of a prompt are in training or all are held out.
Inputs X (rows, d) are standardised with the training rows' means and standard deviations::

    ridge_r2            y = <a, v> / |v| for the activation a at the other site;
                        R2 = 1 - sum (y - y_hat)^2 / sum (y - mean y)^2 over the held-out rows
    logistic_accuracy   every prompt runs twice, with a + s v / |v| and with a - s v / |v|;
                        share of held-out rows of which the sign is told

A chance R2 is 0 (and can be negative), a chance accuracy 1/2. That a linear model can read
something off says nothing of whether the network does.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.graph.operations import SiteAt
from causaldsl.vocabulary.probes import LogisticAccuracy, Probe, RidgeR2

_STEPS = 5000
"""Iterations of logistic regression at most; a note says if they were not enough."""


@evaluates(RidgeR2)
def ridge_r2(here: Here[RidgeR2], target: SubspaceValue) -> float:
    # Here and not above: scikit-learn is slow to import, and most runs have no probe.
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.preprocessing import StandardScaler

    at, basis = here.operation.place("at"), _basis(target, "target")
    targets = [value @ basis for value in _clean(here, at)]
    inputs = _clean(here, here.at)
    chosen = _split(here)
    train, test = (_rows(inputs, part) for part in chosen)
    y_train, y_test = (_rows(targets, part) for part in chosen)
    if len(y_test) < 2 or not (_vary(y_test) and _vary(y_train)):
        raise RunFailure(
            f"the activations at {at} don't vary along the target, so there is no R2",
            "use more or other prompts, or another position",
        )
    scaler = StandardScaler().fit(train)
    model = RidgeCV(alphas=list(here.word.alphas)).fit(scaler.transform(train), y_train)
    predicted = np.asarray(model.predict(scaler.transform(test))).reshape(y_test.shape)
    score = float(r2_score(y_test, predicted))
    _remember(here, score, chosen, train, test, penalty=float(model.alpha_))
    return score


@evaluates(LogisticAccuracy)
def logistic_accuracy(here: Here[LogisticAccuracy], direction: SubspaceValue) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    word, step = here.word, here.word.scale
    if word.unit == "norm":
        clean = torch.cat(_clean(here, here.operation.place("at")))
        step *= float(clean.norm(dim=-1).mean())
    vector = step * _basis(direction, "direction")[:, 0]
    plus, minus = (here.edited(sign * vector, "at", "site") for sign in (1, -1))
    chosen = _split(here)
    train, test = (np.concatenate([_rows(plus, part), _rows(minus, part)]) for part in chosen)
    signs = [np.repeat([1, 0], len(rows) // 2) for rows in (train, test)]
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
    score = float(model.score(scaler.transform(test), signs[1]))
    _remember(here, score, chosen, train, test, penalty=word.penalty, step=step)
    return score


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
