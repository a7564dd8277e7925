"""`mask`: the coordinates of a site that a patch needs, found through the patch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from causaldsl.vocabulary.learned import MOST_COST, Das
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import SubspaceType
from causaldsl.vocabulary.widths import site_width

_SHARED = ("objective", "epochs", "batch", "seed", "no_change", "decay")


@function
class Mask(Das):
    """The span of the neurons or features of a site that a learned binary mask keeps.

    Each has a gate, a sigmoid whose temperature falls from epoch to epoch (De Cao et al., 2020;
    Davies et al., 2023), and all gates are trained through the patch, as `das` is. The loss goes up
    by ``cost`` for each open gate, so what lowers it by less is left out; one at least is kept.
    Where a gate opens or not is all that is learned: the patch is of whole neurons.
    """

    word = "mask"
    computed = ("dim", "most", "neurons", "neurons_seed")
    dim: Literal["learned"] = "learned"
    cost: float = Field(0.01, ge=0, le=MOST_COST)
    lr: float = Field(0.02, gt=0, le=1e3)

    def largest(self, width: int) -> int:
        return width

    def retrained(self, dim: int, neurons: int | None = None) -> Das:
        """DAS on the same examples, for as long: a mask has no dimension that could be given."""
        shared = {name: getattr(self, name) for name in _SHARED}
        return Das(dim=dim, neurons=neurons, **shared)

    def result(self, types: Mapping[str, Any]) -> SubspaceType:
        return SubspaceType(site_width(types), None)
