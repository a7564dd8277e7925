"""Directions that something reads: a token's logit, or a trained probe.

For the final norm's weights w and a token's row u of W_U, with C = I - 1 1^T / d where the norm
takes the mean off and the identity where it does not::

    logit(x) = (C x / s(x)) * w . u + ..  = x . C (w * u) / s(x) + ..

so C (w * u) is what the stream x is read along; the scale s(x) differs from prompt to prompt.

A probe minimises, over rows x of the training prompts, standardised, and labels y = 1 or -1::

    sum log(1 + exp(-y (a . x + b))) + penalty / 2 |a|^2

Its minimum lies in the span of the rows, so it is found there: by Newton's method, in as many
dimensions as there are rows at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.subspace import SubspaceValue
from causaldsl.engine.weights.load import Loaded
from causaldsl.engine.weights.matrices import matrix
from causaldsl.engine.words.probes import drawn_of
from causaldsl.engine.words.subspaces import members, names_of
from causaldsl.vocabulary.base import SIDES
from causaldsl.vocabulary.directions import OfClasses, ProbeAccuracy, ProbeDirection, Token

_SAME = 1e-9
"""A standard deviation below this share of the values is rounding."""


@evaluates(Token)
def token(here: Here[Token]) -> SubspaceValue:
    word, loaded = here.word, here.session.loaded
    rows = matrix(loaded, "W_U")
    row = rows[:, word.text.id].cpu().double()
    if word.less is not None:
        row = row - rows[:, word.less.id].cpu().double()
    return SubspaceValue((_at_stream(loaded, row) if word.norm == "folded" else row)[:, None])


def _at_stream(loaded: Loaded, row: Tensor) -> Tensor:
    """What the stream behind the last block is read along, where W_U reads along a row."""
    form = loaded.spec.shapes.form
    assert form is not None  # or there would be no W_U

    def weight(name: str) -> Tensor:
        return loaded.weights[name].cpu().double()

    if form.project_out is not None:
        stored = weight(form.project_out.weight)
        row = row @ (stored.T if form.project_out.inputs_first else stored)
    norm = form.last_norm
    if norm is None:
        return row
    if norm.weight != "none":
        row = row * (weight(f"{norm.module}.weight") + (norm.weight == "one_plus"))
    return row - row.mean() if norm.kind == "layer" else row


@dataclass(frozen=True)
class _Told:
    """A probe's direction (d,), and which held-out rows (rows,) it tells; rows of each pair."""

    direction: Tensor
    right: Tensor
    lengths: list[int]
    train: list[int]
    held_out: list[int]
    rows: int


@evaluates(ProbeDirection)
def probe(here: Here[ProbeDirection]) -> SubspaceValue:
    found = _told(here)
    _remember(here, found)
    return SubspaceValue(found.direction[:, None])


@evaluates(ProbeAccuracy)
def probe_accuracy(here: Here[ProbeAccuracy]) -> float:
    found = _told(here)
    score = _remember(here, found)
    right = found.right
    return drawn_of(
        here, score, found.held_out, found.lengths, lambda w: w @ right / w.sum(1), rate=True
    )


def _told(here: Here[Any]) -> _Told:
    """The probe of a word, once for its direction and its accuracy."""
    sides = [here.operation.find(side) for side in SIDES]
    name = f"probe {here.at} {here.operation.classes} {sides} {here.word.identity()}"
    found: _Told = here.session.cached(name, lambda: _train(here))
    return found


def _train(here: Here[Any]) -> _Told:
    word: OfClasses = here.word
    rows, labels = _by_pair(here)
    train, held_out = _split(here)
    x, y = (torch.cat([of[i] for i in train]) for of in (rows, labels))
    first, second = names_of(here)
    for which, name in ((1, first), (-1, second)):
        if not bool((y == which).any()):
            raise RunFailure(f"no prompt to train the probe on is of {name}", "use more pairs")
    mean, spread = x.mean(0), x.std(0, correction=0)
    flat = spread <= _SAME * x.abs().amax(0)
    spread = torch.where(flat, torch.ones_like(spread), spread)
    weights, offset = logistic(torch.where(flat, 0.0, (x - mean) / spread), y, word.penalty)
    direction = torch.where(flat, 0.0, weights / spread)
    if not bool(direction.any()):
        raise RunFailure(
            f"{first} and {second} have the same activations at {here.at}",
            "the site may lie before the classes differ",
        )
    tested, wanted = (torch.cat([of[i] for i in held_out]) for of in (rows, labels))
    if not len(tested):
        raise RunFailure("no prompt to test the probe on is of its classes", "use more pairs")
    told = (tested - mean) @ direction + offset
    right = ((told > 0) == (wanted > 0)).double()
    return _Told(direction, right, [len(rows[i]) for i in held_out], train, held_out, len(x))


def logistic(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights (d,) and offset of logistic regression on rows x (n, d) and labels y of 1 and -1.

    Raises :class:`RunFailure` if it does not converge.
    """
    left, sizes, right = torch.linalg.svd(x, full_matrices=False)
    z = torch.cat((left * sizes, torch.ones(len(x), 1, dtype=x.dtype)), 1)
    ridge = torch.full((z.shape[1],), penalty, dtype=x.dtype)
    ridge[-1] = 0  # the offset is free
    w = torch.zeros_like(ridge)

    def loss(w: Tensor) -> Tensor:
        return torch.nn.functional.softplus(-y * (z @ w)).sum() + (ridge * w * w).sum() / 2

    for _ in range(200):
        chance = torch.sigmoid(-y * (z @ w))
        slope = ridge * w - z.T @ (y * chance)
        if float(slope.abs().max()) <= 1e-9 * max(1.0, float(z.abs().max())):
            return right.T @ w[:-1], w[-1]
        curved = (z.T * (chance * (1 - chance))) @ z + torch.diag(ridge + 1e-12)
        step, size, now = torch.linalg.solve(curved, slope), 1.0, loss(w)
        while loss(w - size * step) > now and size > 1e-12:
            size /= 2
        w = w - size * step
    raise RunFailure("logistic regression did not converge", "a larger `penalty` helps")


def _by_pair(here: Here[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Rows (m, d) of each pair's prompts that are of the two classes, and their labels (m,)."""
    sides = [side for side in SIDES if here.operation.find(side) is not None]
    values = {side: here.activations(side) for side in sides}
    classes = {side: members(here, side) for side in sides}
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    for i in range(len(here.pairs)):
        mine = [(values[s][i].cpu().double(), *classes[s][i]) for s in sides if any(classes[s][i])]
        rows.append(torch.cat([torch.zeros(0, here.width).double(), *(v for v, _, _ in mine)]))
        labels += [torch.tensor([1.0 if one else -1.0 for v, one, _ in mine for _ in v]).double()]
    return rows, labels


def _split(here: Here[Any]) -> tuple[list[int], list[int]]:
    """Pairs to train on and to test on: those that share a prompt or a cluster stay together."""
    units = here.pairs.units
    held_out = round(here.word.held_out * units.count)
    if held_out < 1 or units.count - held_out < 2:
        raise RunFailure(f"{units.count} independent pairs are too few for a probe", "use more")
    generator = here.generator(here.word.seed, "probe split")
    out = set(torch.randperm(units.count, generator=generator)[:held_out].tolist())
    both: tuple[list[int], list[int]] = ([], [])
    for pair, unit in enumerate(units.of_pair):
        both[unit in out].append(pair)
    return both


def _remember(here: Here[Any], found: _Told) -> float:
    """The score, which the results have with what it is of."""
    score = float(found.right.mean())
    here.session.probes[here.key] = {
        "score": score,
        "made": here.operation.label,
        "prompts_train": len(found.train),
        "prompts_test": len(found.held_out),
        "n_train": found.rows,
        "n_test": len(found.right),
        "penalty": here.word.penalty,
    }
    return score
