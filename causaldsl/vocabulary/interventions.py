"""Words that change an activation: what `measure` and `sweep` try out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

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
    `from base`, `from RUN` and `from mean(PAIRS.base)` take the value elsewhere, `at SITE @
    POSITION` at another site.
    """

    word = "patch"
    runs = "reads"
    sides = ("source",)
    alone = True
    operands = (_SITE, _ALONG)
    origins = ("from", "at")


class PatchFrom(Change):
    """Set the activation to given values: those of another run or place, or a mean."""

    word = "patch"
    runs = "nothing"
    sides = ()
    alone = True
    operands = (_SITE, _ALONG, Operand("values", "activations", keyword=True, required=False))


@intervention
class Ablate(Change):
    """Set the activation to zero, to its mean over the pairs, to that of another pair's base, or
    add noise.

    `mean` averages over the bases of the pairs, `mean by template` over those of the same template,
    `mean of PAIRS.base` over other prompts; `resample` takes a seeded other base. `noise by 3` adds
    normally distributed numbers of 3 times the standard deviation of the site's numbers over all
    bases.
    """

    word = "ablate"
    runs = "reads"
    sides = ("base",)
    operands = (_SITE, _ALONG)
    origins = ("of", "at")
    to: Literal["zero", "mean", "resample", "noise"]
    by: float | Literal["template"] | None = None
    seed: int | None = Field(None, ge=0, lt=2**31)

    def identity(self) -> dict[str, Any]:
        """Without what is not said."""
        return {name: value for name, value in super().identity().items() if value is not None}

    def result(self, types: Mapping[str, Any]) -> SiteType:
        if self.to == "noise" and not isinstance(self.by, float):
            way = "write `to noise by 3`, in standard deviations of the site"
            raise OperandMistake("by", "missing-option", "noise needs a size", way)
        if (
            self.by is not None
            and self.to != "noise"
            and (self.to, self.by) != ("mean", "template")
        ):
            way = "`by` goes with noise, and `by template` with the mean"
            message = f"`to {self.to}` takes no `by {self.by}`"
            raise OperandMistake("by", "bad-option", message, way)
        if self.seed is not None and self.to != "noise":
            message = f"`to {self.to}` takes no `seed`"
            raise OperandMistake("seed", "bad-option", message, "leave it out")
        return super().result(types)

    @property
    def is_alone(self) -> bool:
        """Zero is; a mean, noise and what is resampled rest on all bases."""
        return self.to == "zero"

    def aligned(self) -> bool:
        """What comes from other prompts fits position by position."""
        return self.to in ("mean", "resample")

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
    alone = True
    amounts = ("by",)
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


@intervention
class Cut(Change):
    """Keep heads from attending to some tokens: their scores are minus infinity there.

    `cut heads[10..19] @ END from SUBJ`. What a query attends to otherwise grows to make up for it:
    its shares add up to 1 again (with an attention sink's).
    """

    word = "cut"
    runs = "nothing"
    sides = ()
    alone = True
    on_prompts = True
    example = "cut heads[1..2] @ END from S2"
    operands = (Operand("site", "attention"), Operand("from", "tokens", keyword=True))
    computed = ("keys",)
    keys: tuple[str, ...] = ()
