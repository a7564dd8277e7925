"""Words that change an activation: what `measure` and `sweep` try out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from causaldsl.diagnostics import Mistake
from causaldsl.vocabulary.base import Change, Operand, OperandMistake
from causaldsl.vocabulary.register import intervention
from causaldsl.vocabulary.types import SiteType

_SITE = Operand("site", "site")
_ALONG = Operand("along", "subspace", keyword=True, required=False)


@intervention
class Patch(Change):
    """Set the activation of the base run to that of the source run (interchange intervention).

    Along an orthonormal basis Q: x := x + Q Q^T (x_source - x). Without `along`, the whole site.
    """

    word = "patch"
    runs = "reads"
    sides = ("source",)
    operands = (_SITE, _ALONG)


@intervention
class Ablate(Change):
    """Set the activation to zero, to its mean over the pairs, or to that of another pair's base.

    `mean` averages over the bases of the pairs; `resample` takes a seeded other base.
    """

    word = "ablate"
    runs = "reads"
    sides = ("base",)
    operands = (_SITE, _ALONG)
    to: Literal["zero", "mean", "resample"]

    def aligned(self) -> bool:
        """What comes from other prompts fits position by position."""
        return self.to != "zero"

    def check_enough(self, prompts: Sequence[Hashable], positions: int) -> None:
        if self.to == "resample" and len(prompts) < 2:
            message = "resampling needs another pair to take from"
            raise Mistake("too-few-pairs", message, "measure on at least two pairs")


@intervention
class Steer(Change):
    """Add a direction, normalised, times `by` to the activation."""

    word = "steer"
    runs = "nothing"
    sides = ()
    operands = (_SITE, Operand("along", "subspace", keyword=True))
    by: float

    def result(self, types: Mapping[str, Any]) -> SiteType:
        site = super().result(types)
        if types["along"].rank not in (1, None):
            raise OperandMistake(
                "along",
                "not-a-direction",
                f"steering needs one direction; this has dimension {types['along'].rank}",
                "use a subspace of dimension 1",
            )
        return site
