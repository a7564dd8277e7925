"""Words that train a probe: what a linear model can read off activations, held out.

A probe says that information is there. It does not say that the model uses it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.base import Operand, OperandMistake, OwnPass, Word
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import NumberType

_Positive = Annotated[float, Field(gt=0)]
_SITE = Operand("site", "site")
_AT = Operand("at", "site", keyword=True)
_ON = Operand("on", "prompts", keyword=True)


class Probe(Word):
    """What probes share: rows are prompts (and positions), split by prompt."""

    sides = ("base",)
    on_text = True
    held_out: float = Field(0.25, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**31)

    @property
    def estimated(self) -> bool:
        return True

    def fit_flops(self, rows: int, width: int) -> int:
        """Floating-point operations of one fit to so many rows of this width, about."""
        return 0

    def shared_flops(self, rows: int) -> int:
        """Those that all fits to the same inputs share, about."""
        return 0

    def check_enough(self, prompts: Sequence[Hashable], positions: int) -> None:
        """At least two different prompts to train on and one to test on."""
        count = len(set(prompts))
        held_out = round(self.held_out * count)
        if held_out < 1 or count - held_out < 2:
            message = f"{count} different prompts are too few for a probe"
            raise Mistake("too-few-prompts", message, "use more prompts")


def _check_width(types: Mapping[str, Any], operand: str) -> None:
    width, wanted = types[operand].width, types["at"].width
    if wanted is not None and width != wanted:
        raise OperandMistake(
            operand,
            "width-mismatch",
            f"this subspace has {width} dimensions, but the site behind `at` has {wanted}",
            "use a subspace of that site",
        )


class Ridge(Probe):
    """Ridge regression from activations at a site to a projection at another one.

    All words of one regression share it: they differ in what is said of its predictions.
    """

    runs = "reads"
    operands = (_SITE, Operand("target", "subspace", keyword=True), _AT, _ON)
    alphas: tuple[_Positive, ...] = Field(
        (0.01, 0.1, 1, 10, 100, 1000, 10000, 100000), min_length=1
    )

    def result(self, types: Mapping[str, Any]) -> NumberType:
        _check_width(types, "target")
        return NumberType()

    def fit_flops(self, rows: int, width: int) -> int:
        """The weights and left-out errors of each penalty."""
        return 4 * len(self.alphas) * rows**2

    def shared_flops(self, rows: int) -> int:
        """The eigendecomposition of the products of all rows with each other."""
        return 10 * rows**3


@function
class RidgeR2(Ridge):
    """Held-out R2 of ridge regression from activations at a site to a projection at another one.

    The projection is that of the activations behind `at` on the target (of a subspace: the mean R2
    over its basis). Inputs are standardised; the strength of the penalty is chosen from `alphas` by
    leave-one-out in training. `held_out` is the share of prompts to test on.
    """

    word = "ridge_r2"
    quantity = "R2, held out"


@function
class RidgeMse(Ridge):
    """Held-out mean squared error of the same regression as `ridge_r2`.

    In units of the projection's variance in training, so that predicting its mean gives about 1.
    """

    word = "ridge_mse"
    quantity = "squared error, held out"


@function
class RidgeP(Ridge):
    """How often chance predicts as well as the same regression as `ridge_r2`: a p-value.

    The held-out prompts change places at random, `permutations` times; (1 + the number of times
    that R2 is as high) / (1 + `permutations`), which is never below 1 / (1 + `permutations`).
    """

    word = "ridge_p"
    quantity = "p"
    permutations: int = Field(999, ge=1, le=100000)

    @property
    def estimated(self) -> bool:
        return False


@function
class LogisticAccuracy(Probe):
    """Held-out accuracy of telling, at a site, plus from minus a step along a direction before it.

    The model runs with a step along the direction added to the activations behind `at`, and with
    the same step subtracted; logistic regression on what the site then holds says which. The step
    is `scale` long: with `unit: absolute` in the activations' own units, with `unit: mean_norm` in
    units of their mean length, which is often a hundred times as long. Every activation is a sample
    twice, once with either sign; with `signs: random` it is one sample, with a sign drawn by the
    seed. Inputs are standardised; `penalty` is that on the squared weights (1/C in scikit-learn).
    `held_out` is the share of prompts to test on.
    """

    word = "logistic_accuracy"
    quantity = "accuracy, held out"
    runs = "edits"
    operands = (_SITE, Operand("direction", "subspace", keyword=True), _AT, _ON)
    scale: float = Field(gt=0)
    unit: Literal["absolute", "mean_norm"]
    signs: Literal["both", "random"] = "both"
    penalty: float = Field(1.0, gt=0)

    def result(self, types: Mapping[str, Any]) -> NumberType:
        _check_width(types, "direction")
        if types["direction"].rank not in (1, None):
            raise OperandMistake(
                "direction",
                "not-a-direction",
                f"a step needs one direction; this has dimension {types['direction'].rank}",
                "use a subspace of dimension 1",
            )
        return NumberType()

    def fit_flops(self, rows: int, width: int) -> int:
        """A few iterations, and the handling of the rows that costs more than they do."""
        return 2000 * rows * width

    def passes(self) -> tuple[OwnPass, ...]:
        """One for the step, one for its opposite."""
        return 2 * (OwnPass(("at",), read=("site",)),)
