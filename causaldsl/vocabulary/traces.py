"""Paths and traces: the policies of a path, and the numbers that a trace gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from causaldsl.vocabulary.base import Operand, OperandMistake, Pure
from causaldsl.vocabulary.register import function
from causaldsl.vocabulary.types import NumberType, TraceType

FreezeChoice: TypeAlias = Literal["attention", "mlp", "all", "none"]
LayerNormChoice: TypeAlias = Literal["recompute", "frozen"]

POLICIES: dict[str, dict[str, str]] = {
    "freeze": {
        "attention": "attention outputs of later layers keep their clean values",
        "mlp": "MLP outputs of later layers keep their clean values",
        "all": "both do: the change goes on along the residual stream only",
        "none": "everything after the sender is computed anew",
    },
    "layernorm": {
        "recompute": "layer norms scale by what they see in the changed run",
        "frozen": "layer norms keep the scale of the clean run, so that effects add up",
    },
}
"""What must be said of every path, the choices, and what each of them means."""

TRACED_METRICS = ("logit_diff",)
"""The metrics that a trace can take apart."""

TOTALS = {
    "total": "mean change of the metric",
    "explained": "share of the total that the shown edges carry",
    "dormant": "number of dormant edges",
}
"""The numbers of a trace that have a name of their own."""


class TraceNumber(Pure):
    """A number of a trace: one of `TOTALS`, or a component's share (`head 23.5`, `mlp 21`)."""

    word = "trace_number"
    gives = NumberType()
    operands = (Operand("trace", "trace"),)
    name: str

    @property
    def estimated(self) -> bool:
        return self.name != "dormant"


@function
class RankCorrelation(Pure):
    """Spearman's rank correlation of the shares of the components that two traces both have."""

    word = "rank_correlation"
    operands = (Operand("left", "trace"), Operand("right", "trace"))

    def result(self, types: Mapping[str, Any]) -> NumberType:
        left: TraceType = types["left"]
        right: TraceType = types["right"]
        common = len(left.components & right.components)
        if common < 3:
            raise OperandMistake(
                "right",
                "too-few-components",
                f"these traces have {common} components in common",
                "a rank correlation needs at least 3; let both go through the same components",
            )
        return NumberType()

    @property
    def estimated(self) -> bool:
        return True
