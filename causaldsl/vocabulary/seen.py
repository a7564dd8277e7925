"""Activations that interventions take from elsewhere: what the program writes behind `from`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from causaldsl.vocabulary.base import Word
from causaldsl.vocabulary.types import SiteType


class Seen(Word):
    """The activations of a site in a run, clean or changed: (k, d) for each pair."""

    word = "seen"
    runs = "reads"
    sides = ()
    large = True
    late = True
    alone = True

    def result(self, types: Mapping[str, Any]) -> SiteType:
        site: SiteType = types["site"]
        return site


class SeenElsewhere(Seen):
    """The activations of a site in a clean run of as many other pairs: (k, d) for each.

    They belong to the pairs by their place, so that some of the pairs alone can't be run.
    """

    word = "seen_elsewhere"
    alone = False


class MeanSeen(Seen):
    """The mean of a site over the prompts of a clean run, (k, d)."""

    word = "mean_seen"
    large = False
    passing = True
    late = False
    alone = False
