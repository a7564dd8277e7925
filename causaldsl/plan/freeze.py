"""What a run holds at its clean values while other things in it change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from causaldsl.graph.operations import HopWord, PatchedRunWord
from causaldsl.model.shapes import ModelDims
from causaldsl.model.sites import Site
from causaldsl.vocabulary.base import Word


@dataclass(frozen=True)
class Freeze:
    """What a run holds at its clean values while edits are in force.

    ``attention`` holds every head's z, ``mlp`` every MLP's neurons, ``norms`` the scales of all
    layer norms, the last one included; at every layer and position. Edits come on top of what is
    held, so an edited z or neuron is not undone. ``free`` names what is computed all the same:
    ``head.z`` and ``mlp_out`` sites.
    """

    attention: bool = False
    mlp: bool = False
    norms: bool = False
    free: frozenset[Site] = frozenset()

    def freeing(self, changed: Iterable[Site], shapes: ModelDims) -> Freeze:
        """This freeze, with what these sites are inputs of left free: changes act there."""
        freed = [output for site in changed for output in site.outputs(shapes)]
        return replace(self, free=self.free.union(freed))

    def holds_head(self, layer: int, head: int) -> bool:
        return self.attention and Site("head.z", layer, head) not in self.free

    def holds_mlp(self, layer: int) -> bool:
        return self.mlp and Site("mlp_out", layer) not in self.free


def freeze_of(word: Word) -> Freeze | None:
    """What a run with this policy holds; None if nothing."""
    if not isinstance(word, PatchedRunWord | HopWord):
        return None
    if word.freeze == "none" and word.layernorm == "recompute":
        return None
    return Freeze(
        attention=word.freeze in ("attention", "all"),
        mlp=word.freeze in ("mlp", "all"),
        norms=word.layernorm == "frozen",
    )
