"""`illusion(...)`, what an `audit` states, and the words that only its evidence is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from causaldsl.vocabulary.base import SIDES, Change, Operand, OperandMistake, Pure, Word
from causaldsl.vocabulary.types import AuditType, SubspaceType, TruthType

VERDICTS = ("illusory", "faithful", "inconclusive")
HELD = (0.99, 0.999)
"""Shares of the variance that the principal components of an audit hold."""


class Illusion(Word):
    """Whether a subspace is the feature that it acts as, or an interpretability illusion.

    `on` are pairs: what has to be learned is learned on their `.train` part, effects are measured
    on `.test`. `against` is a direction of the residual stream to compare what the MLP writes with.
    `at` is the site, where the subspace itself does not say it (one from a file). `directions` is
    the number of random directions, `mlps` that of random MLPs and `sizes` the numbers of neurons
    that DAS is run with; 0 or [] leaves that evidence out. With `seeds`, a subspace of `das` is
    also trained with as many other seeds, to see whether they get the same verdict.
    """

    word = "illusion"
    one_answer = True
    runs = "reads"
    sides = SIDES
    operands = (
        Operand("of", "subspace"),
        Operand("against", "subspace", keyword=True, required=False),
        Operand("on", "pairs", keyword=True),
        Operand("at", "site", keyword=True, required=False),
    )
    directions: int = Field(8, ge=0, le=100)
    mlps: int = Field(2, ge=0, le=20)
    sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    seeds: int = Field(0, ge=0, le=20)
    seed: int = Field(0, ge=0, lt=2**31)

    def result(self, types: Mapping[str, Any]) -> AuditType:
        if types["of"].rank == 0:
            raise OperandMistake("of", "no-direction", "a subspace of rank 0 does nothing")
        return AuditType()


class NaturalChange(Word):
    """How the classes of the pairs' prompts differ on the average: one direction.

    The mean of source - base over pairs, each taken in the same sense: from the class that comes
    first in the alphabet to the other one. Of pairs that have not two classes: the direction in
    which sources and bases differ most, the leading right singular vector of their differences.
    """

    word = "natural_change"
    runs = "reads"
    sides = SIDES
    operands = (Operand("site", "site"), Operand("on", "pairs", keyword=True))

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(int(types["site"].width), 1)


class Principal(Word):
    """The principal components of activations that hold most of their variance.

    Of the centred activations (2n, d) of bases and sources: the leading right singular vectors, as
    few as hold ``share`` of the squared length.
    """

    word = "principal"
    runs = "reads"
    sides = SIDES
    operands = (
        Operand("site", "site"),
        Operand("on", "pairs", keyword=True),
    )
    share: float = Field(gt=0, le=1)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(int(types["site"].width), None)


class PartOfPatch(Change):
    """The part of a patch along a subspace that lies in another one, or the rest of it.

    Where the patch along Q adds c = Q Q^T (x_source - x), this adds P c, or c - P c.
    """

    word = "part_of_patch"
    runs = "reads"
    sides = SIDES
    alone = True
    operands = (
        Operand("site", "site"),
        Operand("along", "subspace", keyword=True),
        Operand("onto", "subspace", keyword=True),
    )
    part: Literal["inside", "outside"]


class Clip(Change):
    """A patch along a subspace, cut to what every coordinate does by itself.

    Where the patch along Q adds c = Q Q^T (x_source - x), this adds in each coordinate j the number
    nearest to c_j between 0 and (x_source - x)_j: pair by pair. Coordinates are the site's own, or
    those in a ``frame``; what is at right angles to it is left out.
    """

    word = "clip"
    runs = "reads"
    sides = SIDES
    alone = True
    operands = (
        Operand("site", "site"),
        Operand("along", "subspace", keyword=True),
        Operand("frame", "subspace", keyword=True, required=False),
    )


class SameLength(Change):
    """A patch turned into a random direction: the same length, elsewhere.

    Where the patch along Q adds Q Q^T (x_source - x), this adds R Q^T (x_source - x), with R a
    random orthonormal basis of the same shape.
    """

    word = "same_length"
    runs = "reads"
    sides = SIDES
    alone = True
    operands = (Operand("site", "site"), Operand("along", "subspace", keyword=True))
    seed: int


class VerdictIs(Pure):
    """`NAME is illusory`: a claim on the verdict of an audit."""

    word = "verdict_is"
    gives = TruthType()
    operands = (Operand("audit", "audit"),)
    verdict: Literal["illusory", "faithful", "inconclusive"]
