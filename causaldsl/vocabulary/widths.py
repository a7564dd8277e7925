"""Checks of dimensions that several words that give a subspace share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causaldsl.vocabulary.base import OperandMistake


def site_width(types: Mapping[str, Any]) -> int:
    """The width of a word's site; that of a raw hook or a pattern is not known: a mistake."""
    width = types["site"].width
    if width is None:
        raise OperandMistake(
            "site",
            "unknown-width",
            "the width of this site is not known before the run",
            "use a named site, such as resid_post[0] @ END",
        )
    return int(width)


def check_fits(operand: str, rank: int, width: int, what: str) -> None:
    """A subspace has no more dimensions than the space that it is in."""
    if rank > width:
        raise OperandMistake(
            operand,
            "rank-too-large",
            f"{what} of dimension {rank} does not fit into {width} dimensions",
            f"choose at most {width}",
        )


def check_neurons(operand: str, indices: tuple[int, ...], width: int) -> None:
    """Neurons of a site that is ``width`` wide: each is there, and listed once."""
    for index in indices:
        if not 0 <= index < width:
            raise OperandMistake(
                operand,
                "neuron-range",
                f"there is no neuron {index} at this site",
                f"its neurons are 0 to {width - 1}",
            )
    if len(set(indices)) != len(indices) or not indices:
        raise OperandMistake(
            operand,
            "neuron-list",
            "neurons must be listed once each, and at least one",
            "write neurons: [3, 17]",
        )
