"""Features as directions, as sets that are found, and what a dictionary explains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from causaldsl.diagnostics import RunFailure
from causaldsl.engine.dictionaries.code import Code
from causaldsl.engine.dictionaries.load import code_of
from causaldsl.engine.drawn import Drawn, sampled
from causaldsl.engine.here import Here
from causaldsl.engine.registry import evaluates
from causaldsl.engine.subspace import SubspaceValue, unit_vectors
from causaldsl.engine.upcast import upcast
from causaldsl.engine.words.gradients import best_of
from causaldsl.plan.virtual import read_for
from causaldsl.vocabulary.dictionaries import (
    Active,
    BestFeatures,
    Decoder,
    DictionaryWord,
    Encoded,
    Explained,
    Feature,
)

_NAMED = 20
"""Features that a note names."""


@evaluates(DictionaryWord)
def dictionary(here: Here[DictionaryWord]) -> Code:
    return code_of(here.session, here.word.dictionary)


@evaluates(Feature)
def feature(here: Here[Feature], of: Code) -> SubspaceValue:
    return _direction(here, of.rows[here.word.number])


@evaluates(Encoded)
def encoded(here: Here[Encoded], of: Code) -> SubspaceValue:
    column = of.W_enc[:, here.word.number]
    if of.form.centred or of.form.norm == "layer_norm":  # it reads activations without their mean
        column = column - column.mean()
    return _direction(here, column)


@evaluates(Decoder)
def decoder(of: Code) -> Tensor:
    return of.rows.cpu()


def _direction(here: Here[Any], vector: Tensor) -> SubspaceValue:
    if not bool(vector.any()):
        message = f"feature {here.word.number} is dead: its weights are zero"
        raise RunFailure(message, "choose another one")
    return SubspaceValue(vector.cpu().double()[:, None])


@evaluates(BestFeatures)
def best_features(here: Here[BestFeatures]) -> SubspaceValue:
    """Pair by pair, so that no tensor is as large as all pairs times all features."""
    word, total = here.word, torch.zeros(here.width, dtype=torch.float64)
    gradients = here.gradients()
    both = zip(here.activations("base"), here.activations("source"), gradients, strict=True)
    for base, source, gradient in both:
        change = source.cpu().double() - base.cpu().double()
        scores = change * gradient if word.by == "attribution" else change
        total += scores.sum(0)
    numbers = here.at.site.numbers

    def name(i: int) -> str:
        return str(i if numbers is None else numbers[i])

    best = best_of(here, total, word.after + word.k, "features", name)[word.after :]
    named = [name(i) for i in best]
    listed = ", ".join(named[:_NAMED]) + (", .." if len(named) > _NAMED else "")
    called = here.session.names.get(here.key, word.word)
    here.note(f"{called}: {'feature' if len(named) == 1 else 'features'} {listed}")
    return SubspaceValue(unit_vectors(best, here.width))


@evaluates(Explained)
def explained(here: Here[Explained]) -> Drawn:
    """1 minus the mean squared error over the variance, both as means over the bases."""
    dictionary = here.at.site.dictionary
    assert dictionary is not None
    code = code_of(here.session, dictionary)
    places = read_for(here.at)
    read, written = places[0], places[-1]
    inputs = [upcast(x) for x in here.activations("base", read)]
    wanted = inputs if read == written else [upcast(x) for x in here.activations("base", written)]
    errors, squares, means = [], [], []
    for x, y in zip(inputs, wanted, strict=True):
        target = code.seen(y).cpu().double()
        made = code.decode(x, code.encode(x)).cpu().double()
        errors.append((target - made).square().sum(-1).mean())
        squares.append(target.square().sum(-1).mean())
        means.append(target.mean(0))
    centre = torch.stack(means).mean(0)
    error = torch.stack(errors)
    spread = torch.stack(squares) - 2 * torch.stack(means) @ centre + centre.square().sum()
    return _ratio(here, error, spread)


def _ratio(here: Here[Any], error: Tensor, spread: Tensor) -> Drawn:
    bootstrap = here.session.bootstrap(here.pairs)

    def make(over: Any) -> Tensor:
        top, bottom = bootstrap.means([error, spread], over)
        return 1 - top / bottom

    return sampled(bootstrap, float(1 - error.mean() / spread.mean()), make)


@evaluates(Active)
def active(here: Here[Active]) -> Drawn:
    counts = [(a > 0).sum(-1).double().mean().cpu() for a in here.activations("base")]
    each, bootstrap = torch.stack(counts), here.session.bootstrap(here.pairs)
    return sampled(bootstrap, float(each.mean()), lambda over: bootstrap.means([each], over)[0])
