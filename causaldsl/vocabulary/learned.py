"""Words that give a subspace which is learned from data: from activations, or through the patch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.base import (
    EPOCHS,
    FEWEST,
    HELD_OUT,
    SIDES,
    STEPS,
    Operand,
    OperandMistake,
    Training,
    Word,
)
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import SubspaceType
from causaldsl.vocabulary.widths import check_fits, check_neurons, site_width

_SITE = Operand("site", "site")
_ON = Operand("on", "pairs", keyword=True)
_Index = Annotated[int, Field(strict=True)]
_Count = Annotated[int, Field(ge=1, strict=True)]
_Seed = Annotated[int, Field(ge=0, lt=2**31)]
_MOST = 128
"""Dimensions at most where a program that learns how many says no other bound."""
MOST_COST = 1e6
"""Far more than any loss that it is added to, and not so much that the sum is none."""
_BY_PAIRS = f"for {STEPS} steps, at least {EPOCHS}, {HELD_OUT:g} held out of {FEWEST} pairs or more"
"""How DAS is trained where a program gives no epochs (``plan/examples.py``): part of its key."""


@function
class Das(Word):
    """A subspace found by distributed alignment search (Geiger et al., 2024).

    An orthonormal basis trained through the patch, by Adam, on the pairs and on no-change pairs
    (prompts of the same class with unrelated names). ``no_change`` is how many of these there are
    for each pair; ``decay`` is that of the learning rate. ``neurons`` restricts it to some
    coordinates of the site: a list of indices, or how many to draw (by ``neurons_seed``, or else by
    ``seed``; a smaller draw of a seed is part of a larger one). The basis is 0 elsewhere.

    With `dim: learned` the dimension is learned too (boundless DAS: Wu et al., 2023), up to
    ``most``: the loss goes up by ``cost`` times the share of these that is used.

    Without ``epochs`` it trains for as many as make 100 steps, and at least 10; a fifth of the
    pairs is held out, and the basis is that of the epoch in which their loss was lowest.
    """

    word = "das"
    runs = "gradients"
    sides = SIDES
    learned = True
    one_answer = True
    operands = (_SITE, _ON)
    dim: Annotated[int, Field(ge=1)] | Literal["learned"] = 1
    most: int | None = Field(None, ge=1)
    cost: float | None = Field(None, ge=0, le=MOST_COST)
    neurons: _Count | tuple[_Index, ...] | None = None
    neurons_seed: _Seed | None = None
    objective: Literal["cross_entropy", "logit_diff"] = "cross_entropy"
    lr: float = Field(0.01, gt=0, le=1e3)
    epochs: int | None = Field(None, ge=1, le=100_000)
    batch: int = Field(64, ge=1, le=1_000_000)
    seed: int = Field(0, ge=0, lt=2**31)
    no_change: float = Field(1.0, ge=0, le=1)
    decay: Literal["linear", "cosine", "none"] = "linear"

    def coordinates(self, width: int | None) -> int | None:
        """How many coordinates of a site of this width it may use."""
        if isinstance(self.neurons, tuple):
            return len(self.neurons)
        return width if self.neurons is None else self.neurons

    def largest(self, width: int) -> int:
        """The largest dimension that it may have at a site of this width."""
        if isinstance(self.dim, int):
            return self.dim
        return self.most or min(_MOST, self.coordinates(width) or width)

    def retrained(self, dim: int, neurons: int | None = None) -> Das:
        given = {"dim": dim, "most": None, "cost": None}
        return self.model_copy(update={**given, "neurons": neurons, "neurons_seed": None})

    def seeded(self, after: int) -> tuple[int, Das]:
        seed = (self.seed + after) % 2**31
        return seed, self.model_copy(update={"seed": seed})

    def aligned(self) -> bool:
        """Examples are trained on together, and no-change examples take other prompts' values."""
        return True

    def training(self, width: int | None) -> Training:
        """Where only one subspace fits there is nothing to learn: one epoch, for its loss."""
        epochs = 1 if self.coordinates(width) == self.dim else self.epochs
        return Training(epochs, self.batch, self.no_change, self.objective == "cross_entropy")

    def identity(self) -> dict[str, Any]:
        """Options that are not in use don't count."""
        named = ("neurons", "neurons_seed", "most", "cost")
        unused = {name for name in named if getattr(self, name) is None}
        said = self.model_dump(mode="json", exclude=unused)
        return said if self.epochs is not None else {**said, "epochs": _BY_PAIRS}

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = site_width(types)
        if isinstance(self.dim, int) and (self.most, self.cost) != (None, None):
            raise OperandMistake(
                "site",
                "bad-option",
                "`most` and `cost` are for a dimension that is learned",
                "write `dim: learned`, or leave them out",
            )
        largest = self.largest(width)
        check_fits("site", largest, width, "a subspace")
        if isinstance(self.neurons, tuple):
            check_neurons("neurons", self.neurons, width)
            check_fits("neurons", largest, len(self.neurons), "a subspace")
        elif self.neurons is not None:
            _check_count("neurons", self.neurons, width)
            check_fits("neurons", largest, self.neurons, "a subspace")
        if self.neurons_seed is not None and not isinstance(self.neurons, int):
            raise OperandMistake(
                "neurons",
                "bad-option",
                "`neurons_seed` draws neurons, but none are to be drawn",
                "say how many with `neurons: k`, or leave it out",
            )
        return SubspaceType(width, self.dim if isinstance(self.dim, int) else None)


@function
class MeanDifference(Word):
    """Mean activation of one class of prompts minus that of another: one direction.

    Without a second class it is minus that of all other prompts.
    """

    word = "mean_difference"
    runs = "reads"
    sides = SIDES
    operands = (
        _SITE,
        Operand("first", "class"),
        Operand("second", "class", required=False),
        _ON,
    )

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(site_width(types), 1)

    def aligned(self) -> bool:
        return True


@function
class Gradient(Word):
    """Mean gradient of a metric of the base runs with respect to their activations at a site.

    The mean is over the bases of the pairs, and over positions if the site has several.
    """

    word = "gradient"
    runs = "gradients"
    sides = ("base",)
    operands = (_SITE, _ON)
    of: Literal["logit_diff"] = "logit_diff"

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(site_width(types), 1)


@function
class BestNeurons(Word):
    """The span of the k neurons whose own change from base to source should matter most.

    They are ranked by attribution: the size of the mean over the pairs of the gradient of
    `logit_diff` in the base run, times the change. It proposes neurons; what they do is measured by
    patching them.
    """

    word = "best_neurons"
    runs = "gradients"
    sides = SIDES
    operands = (_SITE, _ON)
    k: int = Field(ge=1)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = site_width(types)
        _check_count("site", self.k, width)
        return SubspaceType(width, self.k)

    def aligned(self) -> bool:
        return True


@function
class Pca(Word):
    """The leading principal components of the activations of all prompts of the pairs."""

    word = "pca"
    runs = "reads"
    sides = SIDES
    operands = (_SITE, Operand("on", "prompts", keyword=True))
    dim: int = Field(1, ge=1)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        width = site_width(types)
        check_fits("site", self.dim, width, "a subspace")
        return SubspaceType(width, self.dim)

    def check_enough(self, prompts: Sequence[Hashable], positions: int) -> None:
        if positions < self.dim:
            message = f"{positions} activations have fewer than {self.dim} components"
            raise Mistake("too-few-prompts", message, "use more prompts")


def _check_count(operand: str, count: int, width: int) -> None:
    if count > width:
        raise OperandMistake(
            operand,
            "neuron-range",
            f"there are {width} neurons at this site, not {count}",
            f"choose at most {width}",
        )
