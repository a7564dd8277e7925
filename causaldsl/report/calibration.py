"""How often the audit's verdicts were wrong in planted models, as counted by
`benchmarks/planted_audits.py` on models that its rule was not made with.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict


class Counted(BaseModel):
    """One kind of planted model: cases, clear truths, and verdicts on them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    cases: int
    illusory: int
    """Directions that are illusory, and how many of them were called so, or faithful."""
    illusory_right: int
    illusory_wrong: int
    faithful: int
    faithful_right: int
    faithful_wrong: int
    nothing: int
    """Directions without an effect, and how many of them were called anything."""
    nothing_wrong: int

    @property
    def wrong(self) -> int:
        return self.illusory_wrong + self.faithful_wrong + self.nothing_wrong

    @property
    def definite(self) -> int:
        """Definite verdicts on clear truths."""
        return self.illusory_right + self.faithful_right + self.wrong

    @property
    def inconclusive(self) -> int:
        """Clear truths without a verdict."""
        return self.illusory + self.faithful + self.nothing_wrong - self.definite


class Calibration(BaseModel):
    """All kinds."""

    kinds: tuple[Counted, ...]

    @property
    def wrong(self) -> int:
        return sum(one.wrong for one in self.kinds)

    @property
    def definite(self) -> int:
        return sum(one.definite for one in self.kinds)


@cache
def calibration() -> Calibration:
    """The counts that come with this version."""
    text = resources.files("causaldsl.report").joinpath("calibration.json").read_text("utf-8")
    return Calibration.model_validate(json.loads(text))
