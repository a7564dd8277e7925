"""Where a pass of the cone starts, and how far it must go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from causaldsl.model.families.summary import without_cone
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site


class Stage(IntEnum):
    """How far into a block, in the order of the pass."""

    INPUT, MID, HIDDEN = range(3)  # its input, after attention, at the MLP's neurons


@dataclass(frozen=True, order=True)
class Entry:
    """Where a pass starts. Layer -1 is before the embedding; n_layers is after the last block."""

    layer: int
    stage: Stage = Stage.INPUT


_STAGES = {"input": Stage.INPUT, "mid": Stage.MID, "hidden": Stage.HIDDEN}


def entry_of(site: Site, n_layers: int) -> Entry:
    """The last place at which a pass can start and still meet this site."""
    where = site.word.entry
    if site.layer is None:
        return Entry(-1 if where == "tokens" else n_layers)
    return Entry(site.layer + 1) if where == "next" else Entry(site.layer, _STAGES[where])


def last_block(sites: Iterable[Site], n_layers: int) -> int:
    """The block that a pass must have computed before it has met all of these."""
    layers = [
        entry_of(site, n_layers).layer if site.layer is None else site.layer for site in sites
    ]
    return max(layers, default=-1)


def expected_backend(
    shapes: ModelDims, wanted: str = "cone", longest: int = 0
) -> Callable[[Iterable[Site]], str]:
    """The backend that a run takes for sites, as far as that is known without weights.

    ``longest`` is the number of tokens of its longest prompt.
    """
    form = shapes.form
    served = wanted == "cone" and form is not None and not without_cone(form, longest)

    def backend_of(sites: Iterable[Site]) -> str:
        return "cone" if served and all(site.word.tap for site in sites) else "hooks"

    return backend_of
