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
from causaldsl.engine.backend import activations_of
from causaldsl.engine.edits import Edit, Read, Watch
from causaldsl.engine.reads import activations
from causaldsl.engine.registry import evaluates
from causaldsl.engine.session import Session
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.upcast import upcast_dtype
from causaldsl.graph.operations import Operation
from causaldsl.vocabulary.probes import LogisticAccuracy, Probe, RidgeR2

_STEPS = 5000
"""Iterations of logistic regression at most; a note says if they were not enough."""


@evaluates(RidgeR2)
def ridge_r2(session: Session, operation: Operation) -> float:
    # Here and not above: scikit-learn is slow to import, and most runs have no probe.
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.preprocessing import StandardScaler

    word = operation.word
    assert isinstance(word, RidgeR2)
    basis = _basis(session, operation, "target")
    (at,) = operation.to
    targets = [value @ basis for value in _clean(session, operation, at)]
    inputs = _clean(session, operation, operation.at_site)
    chosen = _split(session, operation)
    train, test = (_rows(inputs, part) for part in chosen)
    y_train, y_test = (_rows(targets, part) for part in chosen)
    if len(y_test) < 2 or not (_vary(y_test) and _vary(y_train)):
        raise RunFailure(
            f"the activations at {at} don't vary along the target, so there is no R2",
            "use more or other prompts, or another position",
        )
    scaler = StandardScaler().fit(train)
    model = RidgeCV(alphas=list(word.alphas)).fit(scaler.transform(train), y_train)
    predicted = np.asarray(model.predict(scaler.transform(test))).reshape(y_test.shape)
    score = float(r2_score(y_test, predicted))
    _remember(session, operation, score, chosen, train, test, penalty=float(model.alpha_))
    return score


@evaluates(LogisticAccuracy)
def logistic_accuracy(session: Session, operation: Operation) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    word = operation.word
    assert isinstance(word, LogisticAccuracy)
    (at,) = operation.to
    step = word.scale
    if word.unit == "norm":
        step *= float(torch.cat(_clean(session, operation, at)).norm(dim=-1).mean())
    direction = step * _basis(session, operation, "direction")[:, 0]
    plus, minus = (_stepped(session, operation, sign * direction) for sign in (1, -1))
    chosen = _split(session, operation)
    train, test = (np.concatenate([_rows(plus, part), _rows(minus, part)]) for part in chosen)
    signs = [np.repeat([1, 0], len(rows) // 2) for rows in (train, test)]
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=1 / word.penalty, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(scaler.transform(train), signs[0])
        except ConvergenceWarning:
            session.note(
                f"logistic regression did not converge in {_STEPS} steps "
                f"(scale {word.scale:g}, {operation.at_site}); a larger `penalty` helps"
            )
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaler.transform(train), signs[0])
    score = float(model.score(scaler.transform(test), signs[1]))
    _remember(session, operation, score, chosen, train, test, penalty=word.penalty, step=step)
    return score


def _basis(session: Session, operation: Operation, role: str) -> Tensor:
    value: SubspaceValue = session.value(operation.given(role))
    if value.rank == 0:
        raise RunFailure(f"the {role} of a probe is zero", "choose another direction")
    return value.basis


def _clean(session: Session, operation: Operation, at: Any) -> list[Tensor]:
    """The bases' activations (k, d) at a site, in double precision."""
    base, backend = operation.given("base") or "", session.plan.backends[operation.key]
    return [value.cpu().double() for value in activations(session, base, backend, at)]


def _stepped(session: Session, operation: Operation, step: Tensor) -> list[Tensor]:
    """The bases' activations (k, d) at the probe's site, a step (d,) added at the other."""
    (at,) = operation.to
    runs = session.runs(operation.given("base"), session.plan.backends[operation.key])
    parts: list[Tensor] = []
    watch = Watch()
    # Not every device has float64.
    there = step.to(session.loaded.device, upcast_dtype(session.loaded.dtype))
    for group in runs.groups:
        positions = group.positions[at]
        value = there.expand(*positions.shape, len(step))
        edit = Edit(at.site, positions, value, add=True, watch=watch)
        read = Read(operation.at_site.site, group.positions[operation.at_site])
        (found,) = activations_of(runs.backend, group.clean, [edit], [read])
        parts.append(found.cpu().double())
    if watch.largest == 0:
        session.note(f"a step at {at} was too small to change any activation")
    return runs.by_pair(parts)


def _split(session: Session, operation: Operation) -> tuple[list[int], list[int]]:
    """Rows of the prompts to train on and to test on; copies of one prompt stay together."""
    word = operation.word
    assert isinstance(word, Probe)
    runs = session.runs(operation.given("base"), session.plan.backends[operation.key])
    copies: dict[tuple[float, ...], list[int]] = {}
    for row, prompt in enumerate(runs.prompts):
        copies.setdefault(prompt.ids, []).append(row)
    n = len(copies)
    held_out = round(word.held_out * n)
    if held_out < 1 or n - held_out < 2:
        raise RunFailure(f"{n} different prompts are too few for a probe", "use more prompts")
    generator = session.generator(word.seed, "probe split")
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
    session: Session,
    operation: Operation,
    score: float,
    chosen: tuple[list[int], list[int]],
    train: np.ndarray,
    test: np.ndarray,
    **details: float,
) -> None:
    session.probes[operation.key] = {
        "score": score,
        "made": operation.label,
        "prompts_train": len(chosen[0]),
        "prompts_test": len(chosen[1]),
        "n_train": len(train),
        "n_test": len(test),
        **details,
    }
